# One image, many commands: intake, worker, beat, db upgrade. Built from hash-pinned locks; what runs is the runtime's
# alone, without the embedded servers, tests and tools of development, and without pip. With
# --build-arg LOCK=requirements-traces.lock it can also make spans (docs/tracing.md).
#
# `make image` builds it such that the same commit gives the same files. Two images can still differ in their base, whose
# tag moves with each fix of Debian's: name one by its digest to fix that too, as
#   make image PYTHON_IMAGE=python:3.11-slim-trixie@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG LOCK=requirements.lock
WORKDIR /src
COPY requirements.lock requirements-traces.lock requirements-build.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/loyalty \
    && /opt/build/bin/pip --python /opt/loyalty/bin/python install --no-cache-dir --no-compile --require-hashes -r "${LOCK}"
COPY pyproject.toml ./
COPY core core
COPY config config
COPY tasks tasks
COPY workers workers
# Compiled by what stands in the sources, not by their dates: the files come out the same, and a root that cannot be
# written to needs no compiling at each start.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/pip --python /opt/loyalty/bin/python install --no-cache-dir --no-compile --no-index --no-deps /wheels/*.whl \
    && /opt/loyalty/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/loyalty/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="loyalty-worker" \
      org.opencontainers.image.description="A message-driven loyalty points engine: orders and refunds in, an explainable ledger and events out." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
RUN groupadd --system --gid 10001 loyalty \
    && useradd --system --uid 10001 --gid 10001 --create-home --home-dir /home/loyalty loyalty
COPY --from=build /opt/loyalty /opt/loyalty
ENV PATH=/opt/loyalty/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOYALTY_DATA_DIR=/home/loyalty/data
# By number, as Kubernetes can only see of a number that it is not root's.
USER 10001:10001
WORKDIR /home/loyalty
# Exec form, so that TERM reaches the supervisor, which finishes what runs.
ENTRYPOINT ["loyalty"]
CMD ["up"]
