# The model repository alone, for init containers and image volumes, and Triton with it baked in. Mounted instead:
#   docker run --volume ./model_repository:/models:ro nvcr.io/nvidia/tritonserver:25.08-py3 tritonserver --model-repository=/models

FROM busybox:1.37.0-musl AS models
COPY model_repository/ /models/
USER 10001:10001
CMD ["ls", "/models"]

FROM nvcr.io/nvidia/tritonserver:25.08-py3 AS triton
COPY model_repository/ /models/
USER 1000:1000
EXPOSE 8000 8001 8002
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=none", "--disable-auto-complete-config", \
     "--strict-readiness=true", "--exit-on-error=true"]
