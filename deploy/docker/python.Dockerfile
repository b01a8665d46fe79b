# Explainer, scorer and trainer, on CPU and GPU. From the repository's root, all of them and Triton's:
#   docker buildx bake --file deploy/docker/bake.json
# Every package is pinned in requirements/, which lock.py writes. The services carry no torch.

FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/earwitness/bin:$PATH
WORKDIR /build
RUN python -m venv /opt/earwitness
COPY deploy/docker/requirements/ requirements/

# The package itself, last in every image: its code changes oftener than its requirements.
FROM build AS package
COPY pyproject.toml README.md LICENSE ./
COPY services/ services/
COPY deploy/triton/backends/ deploy/triton/backends/
COPY deploy/demo/audio/ deploy/demo/audio/
COPY model_repository/ model_repository/
RUN pip install hatchling==1.27.0 && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM build AS build-explainer
RUN pip install --requirement requirements/explainer.txt

FROM build-explainer AS build-explainer-gpu
RUN pip uninstall --yes onnxruntime && pip install --requirement requirements/gpu.txt

FROM build AS build-scorer
RUN pip install --requirement requirements/scorer.txt

FROM build AS compilers
RUN apt-get update && apt-get install --yes --no-install-recommends g++=4:12.2.0-3 && rm -rf /var/lib/apt/lists/*

# tinysoundfont asks for a sound card's library, musicnn for TensorFlow: nobody here needs those.
FROM compilers AS build-trainer
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu --requirement requirements/trainer.txt \
 && pip install --no-deps tinysoundfont==0.3.7 musicnn==0.1.0

FROM compilers AS build-trainer-gpu
RUN pip install --requirement requirements/trainer.txt \
 && pip install --no-deps tinysoundfont==0.3.7 musicnn==0.1.0 \
 && pip uninstall --yes onnxruntime \
 && pip install --no-deps --constraint requirements/gpu.txt onnxruntime-gpu

# What all images run on: one user, who owns nothing but /var/lib/earwitness; caches go where a read-only root lets them.
FROM python:3.11.13-slim-bookworm AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp earwitness \
 && install --directory --owner earwitness --group earwitness /var/lib/earwitness
ENV PATH=/opt/earwitness/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    XDG_DATA_HOME=/var/lib XDG_CACHE_HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /var/lib/earwitness

FROM base AS explainer
COPY --from=build-explainer /opt/earwitness /opt/earwitness
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
EXPOSE 50051 9101
ENTRYPOINT ["python", "-m", "earwitness.explainer"]

FROM base AS explainer-gpu
COPY --from=build-explainer-gpu /opt/earwitness /opt/earwitness
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
ENV LD_LIBRARY_PATH=/opt/earwitness/lib/python3.11/site-packages/nvidia/cu13/lib:/opt/earwitness/lib/python3.11/site-packages/nvidia/cudnn/lib
USER 10001:10001
EXPOSE 50051 9101
ENTRYPOINT ["python", "-m", "earwitness.explainer"]

FROM base AS scorer
COPY --from=build-scorer /opt/earwitness /opt/earwitness
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
EXPOSE 50052 9102
ENTRYPOINT ["python", "-m", "earwitness.scorer"]

FROM base AS trainer
COPY --from=build-trainer /opt/earwitness /opt/earwitness
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
ENTRYPOINT ["earwitness"]

FROM base AS trainer-gpu
COPY --from=build-trainer-gpu /opt/earwitness /opt/earwitness
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
ENTRYPOINT ["earwitness"]
