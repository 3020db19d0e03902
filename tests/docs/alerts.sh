cp config/ringway.yaml .
ringway run
