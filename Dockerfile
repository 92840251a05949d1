# One image, many commands: intake, worker, beat, db upgrade. Built from hash-pinned locks; what runs is the runtime's
# alone, without the embedded servers, tests and tools of development.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && python -m venv /opt/loyalty \
    && /opt/loyalty/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml ./
COPY core core
COPY config config
COPY tasks tasks
COPY workers workers
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/loyalty/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /home/loyalty loyalty
COPY --from=build /opt/loyalty /opt/loyalty
ENV PATH=/opt/loyalty/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOYALTY_DATA_DIR=/home/loyalty/data
USER loyalty
WORKDIR /home/loyalty
# Exec form, so that TERM reaches the supervisor, which finishes what runs.
ENTRYPOINT ["loyalty"]
CMD ["up"]
