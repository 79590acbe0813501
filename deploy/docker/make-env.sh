#!/bin/sh
# Prints an environment file with fresh secrets for docker-compose.yml. What Flywire gave you goes in by hand.
set -eu
secret() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
for name in POSTGRES_PASSWORD SERVICES_PASSWORD RABBITMQ_PASSWORD STORAGE_PASSWORD FEED_SECRET \
    GATEWAY_WRAPPING_KEY CREDENTIALS_WRAPPING_KEY; do
    echo "MC_$name=$(secret)"
done
echo "MC_PUBLIC_URL=http://localhost:8000"
echo "MC_FLYWIRE_API_URL=https://api-platform-sandbox.flywire.com/payments/v1"
echo "MC_FLYWIRE_API_KEY=from-flywire"
echo 'MC_FLYWIRE_SECRETS=["from-flywire"]'
