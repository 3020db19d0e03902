cat >ringway.yaml <<'END_OF_FILE'
listeners:
  - address: 127.0.0.1:8080
stateDir: state
services:
  shop:
    hashOn: [{ cookie: uid }, clientIP]
    variants:
      stable: { weight: 100, endpoints: ["127.0.0.1:3001"] }
      canary: { weight: 0, endpoints: ["127.0.0.1:3002"] }
    rollout:
      id: v42
      to: canary
      steps:
        - { cohort: everyone, ramp: [1, 5, 25, 100], hold: 10m }
END_OF_FILE
sed 's/id: v42/id: v41/' ringway.yaml >ringway.old.yaml
# an hour of 4 requests a second, of 1,000 addresses
python3 - >access.log <<'END_OF_FILE'
for at in range(3600 * 4):
    second = at // 4
    user = (at * 7919) % 1000
    print(f'10.0.{user // 250}.{user % 250 + 1} - - [21/Nov/2026:{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} +0000] '
          f'"GET /cart HTTP/1.1" 200 512 "-" "Mozilla/5.0 ({user})"')
END_OF_FILE
