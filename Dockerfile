# One image, many commands: intake, worker, beat, db upgrade. Built from the hash-pinned lock.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml ./
RUN python -m venv /opt/loyalty \
    && /opt/loyalty/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY core core
COPY config config
COPY tasks tasks
COPY workers workers
RUN /opt/loyalty/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

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
