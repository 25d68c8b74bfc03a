# runoff on Linux with an NVIDIA GPU: as cpu.Dockerfile, with the CUDA builds of PyTorch and ONNX Runtime. All of CUDA except
# the driver comes in wheels, so the base is the same small image. docs/docker.md has the commands.
ARG BASE_IMAGE=debian:12.15-slim
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

# Build tools stay in this stage and the next two.
FROM ${RUST_IMAGE} AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ make nasm python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY docker/ca/ /ca/
RUN find /ca -name '*.crt' -exec cat {} + >> /etc/ssl/certs/ca-certificates.crt
ARG PIP_INDEX_URL
ENV PIP_INDEX_URL=${PIP_INDEX_URL} UV_DEFAULT_INDEX=${PIP_INDEX_URL} \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 NOX_SCRIPT_MODE=none PATH=/opt/nox/bin:${PATH}
RUN python3 -m venv /opt/nox && pip install --quiet nox==2026.10.20 uv==0.13.9
WORKDIR /opt/runoff
COPY noxfile.py ./
COPY python/runoff_runners/ python/runoff_runners/
COPY python/runoff/__init__.py python/runoff/environments.py python/runoff/paths.py python/runoff/
COPY python/runoff/records/__init__.py python/runoff/records/errors.py python/runoff/records/

# The Rust programs and the extension.
FROM tools AS rust
COPY Cargo.lock Cargo.toml ./
COPY requirements/build.txt requirements/ort-python.txt requirements/ort-pyo3.txt requirements/
COPY rust/ rust/
RUN RUNOFF_CUDA=0 nox -s build ort-pyo3
RUN install -D --target-directory bin target/release/runoff-ort target/release/runoff-null

# The Python environments, in one layer: uv links shared files, so they are stored once.
FROM tools AS python
COPY LICENSE README.md pyproject.toml ./
COPY requirements/ requirements/
COPY python/runoff.pth python/
RUN UV_CACHE_DIR=/opt/runoff/.uv RUNOFF_CUDA=1 nox -s runoff torch ort-python export inspect hyperfine && rm -rf .uv
COPY suites/ suites/
COPY python/ python/
RUN .nox/runoff/bin/runoff export efficientnet-lite0 --coreml
# Keep only what a run needs: no headers, no static libraries, and no Triton, PyTorch's compiler, which eager PyTorch never calls.
# Link the runtime's library under a name without its version.
RUN rm -rf .nox/export requirements __pycache__ .nox/torch/lib/python3*/site-packages/triton \
    && find .nox -name '*.a' -delete && find .nox/torch -type d -name include -prune -exec rm -rf {} + \
    && ln -s .nox/ort-python/lib/python3*/site-packages/onnxruntime/capi lib \
    && ln -s .nox/ort-python/lib/python3*/site-packages/nvidia nvidia \
    && ln -s "$(basename lib/libonnxruntime.so.*)" lib/libonnxruntime.so \
    && install -d --mode 1777 .runoff/prepared /results \
    && python3 -m compileall -q python

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends linux-perf python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /tmp runoff
COPY --from=python /results /results
COPY --from=python /opt/runoff /opt/runoff
# the loader finds CUDA's libraries without an environment variable
RUN printf '/opt/runoff/nvidia/%s/lib\n' cu13 cudnn > /etc/ld.so.conf.d/runoff.conf && ldconfig
COPY --from=rust /opt/runoff/bin /opt/runoff/bin
COPY --from=rust /opt/runoff/.nox/ort-pyo3 /opt/runoff/.nox/ort-pyo3
# HOME: writable for any user. container: listed in every run's description of its machine.
ENV container=docker PATH=/opt/runoff/.nox/runoff/bin:/opt/runoff/bin:${PATH} HOME=/tmp \
    RUNOFF_BIN=/opt/runoff/bin RUNOFF_RESULTS=/results RUNOFF_ORT_DYLIB=/opt/runoff/lib/libonnxruntime.so \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# NVIDIA_ above: the GPUs and parts of the driver that NVIDIA's container toolkit exposes
WORKDIR /results
USER runoff
# No HEALTHCHECK: it would run during measurements. runoff doctor checks the image.
ENTRYPOINT ["runoff"]
CMD ["bench"]
