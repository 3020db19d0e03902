ringway run -c config/mirror.yaml
