# The hosted app: two cores and 16 GB are enough. Build:
#
#     docker build -t mode-connectivity .
#     docker run -p 8501:8501 mode-connectivity
#
# torch must be the CPU build; the default one brings several gigabytes of CUDA. Where pip finds it is the builder's to
# say, as extra arguments for pip or as pip's own variable, for example
#
#     docker build --build-arg PIP_EXTRA="--index-url URL-OF-TORCH-CPU-WHEELS" -t mode-connectivity .
#
# PIP_EXTRA holds for torch alone, PIP_INDEX_URL for everything. Without the right one the build stops and says so.
FROM python:3.11-slim

ARG PIP_EXTRA=""
ARG PIP_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

WORKDIR /app
COPY requirements.txt .
# One layer, so that what is deleted is never part of the image: tests, headers, the tools to build with torch.
RUN set -eu; \
    if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi; \
    python -m pip install $PIP_EXTRA torch==2.13.0; \
    python -c "import torch; assert torch.version.cuda is None, 'This is the CUDA build of torch: see PIP_EXTRA.'"; \
    python -m pip install -r requirements.txt; \
    site=$(python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"); \
    find "$site" -type d \( -name tests -o -name test \) -not -path "*/torch/*" -prune -exec rm -rf {} +; \
    rm -rf "$site"/torch/include "$site"/torch/share "$site"/torch/test "$site"/pyarrow/include; \
    find "$site"/torch/bin -type f -not -name torch_shm_manager -delete; \
    find "$site" \( -name "*.a" -o -name "*.pyi" \) -delete; \
    python -c "import altair, datasets, pyarrow.parquet, scipy.optimize, streamlit, torch, transformers"

COPY LICENSE README.md app.py start ./
COPY .streamlit .streamlit
COPY pages pages
COPY mcore mcore
# Some files may have come from a folder that only its owner can read.
RUN chmod -R a+rX . && python -m compileall -q app.py pages mcore && useradd -m -u 1000 user
USER user
ENV HOME=/home/user MCORE_PROFILE=hosted

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=40s --retries=3 \
    CMD python -c "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 8501)}/_stcore/health', timeout=4)"
CMD ["./start"]
