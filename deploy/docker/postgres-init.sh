#!/bin/sh
# A database and a role of its own for every service; no role can open another's database.
set -eu
for service in $(cat /services.txt) gateway; do
    psql --username postgres --set ON_ERROR_STOP=1 --set role="mc_$service" --set password="$MC_SERVICES_PASSWORD" <<'SQL'
create role :"role" login password :'password';
alter role :"role" set statement_timeout = '5s';
alter role :"role" set lock_timeout = '1s';
alter role :"role" set idle_in_transaction_session_timeout = '10s';
create database :"role" owner :"role";
revoke all on database :"role" from public;
SQL
done
