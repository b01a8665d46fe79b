# The model repository alone, for init containers and image volumes, and Triton with it baked in. Mounted instead:
#   docker run --volume ./model_repository:/models:ro nvcr.io/nvidia/tritonserver:25.08-py3 tritonserver --model-repository=/models

FROM busybox:1.37.0-musl AS models
COPY model_repository/ /models/
# Each file is the one that was exported: its config.pbtxt has its digest, or none where an earlier version wrote it.
RUN for file in /models/*/*/model.onnx; do \
      folder="${file%/*/*}"; \
      digest="$(sha256sum "$file")"; digest="${digest%% *}"; \
      if ! grep -qF model_sha256 "$folder/config.pbtxt"; then \
        echo "WARNING: $folder has no digests, so that nobody can tell whether its file is right: earwitness stamp"; \
      elif ! grep -qF "\\\"${folder##*_}\\\": \\\"$digest\\\"" "$folder/config.pbtxt"; then \
        echo "$file is not the file that was exported: put the right one there, or export the model again"; exit 1; \
      fi; \
    done
USER 10001:10001
CMD ["ls", "/models"]

FROM nvcr.io/nvidia/tritonserver:25.08-py3 AS triton
COPY --from=models /models/ /models/
USER 1000:1000
EXPOSE 8000 8001 8002
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=none", "--disable-auto-complete-config", \
     "--strict-readiness=true", "--exit-on-error=true"]
