#!/bin/sh
# Prints an environment file with fresh secrets for docker-compose.yml. What Flywire gave you goes in by hand.
set -eu
# Passwords stand in addresses, so they are hexadecimal; keys are 32 bytes in base64.
for name in POSTGRES_PASSWORD SERVICES_PASSWORD RABBITMQ_PASSWORD STORAGE_PASSWORD FEED_SECRET; do
    echo "MC_$name=$(head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n')"
done
for name in GATEWAY_WRAPPING_KEY CREDENTIALS_WRAPPING_KEY; do
    echo "MC_$name=$(head -c 32 /dev/urandom | base64)"
done
echo "MC_PUBLIC_URL=http://localhost:8000"
echo "MC_PROVIDER_URL=https://api-platform-sandbox.flywire.com"
echo "MC_PROVIDER_API_KEY=from-flywire"
echo 'MC_PROVIDER_SECRETS=["from-flywire"]'
