# docker build --tag resvg-grounding .
# docker build --build-arg TORCH_INDEX=URL --tag resvg-grounding:cuda .      # URL of torch's builds for your CUDA
# docker run --rm --volume "$PWD:/work" resvg-grounding predict
FROM python:3.11-slim
ARG TORCH_INDEX=""
ARG EXTRAS="s3"
# KubeRay's health checks call wget.
# Debian keeps only the newest version of a package.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/resvg
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[$EXTRAS]"
WORKDIR /work
ENTRYPOINT ["resvg-grounding"]
