# The command pgconveyor, to run a worker with:  docker build -t pgconveyor .
# Handlers are modules in /handlers, which is mounted, or copied there by an image made from this one.
FROM python:3.13-slim AS build

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY db db
# A constraint from the environment also holds for what builds the wheel. The venv has no pip of its own.
RUN export PIP_CONSTRAINT=/source/constraints.txt PIP_NO_CACHE_DIR=1 \
    && pip wheel --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/pgconveyor \
    && pip --python /opt/pgconveyor/bin/python install /wheels/*.whl


FROM python:3.13-slim

RUN useradd --system --no-create-home --uid 10001 pgconveyor
COPY --from=build /opt/pgconveyor /opt/pgconveyor
ENV PATH=/opt/pgconveyor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /handlers
USER 10001

ENTRYPOINT ["pgconveyor"]
CMD ["--help"]

# Exit code 1 is "degraded": leases are overdue, say. A new container would not change that.
HEALTHCHECK --interval=30s --timeout=15s --start-period=15s \
    CMD pgconveyor health || [ $? -eq 1 ]
