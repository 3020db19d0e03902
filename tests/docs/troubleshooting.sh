cp config/ringway.yaml .
