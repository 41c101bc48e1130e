-- Creates renderhook's role and database, as the superuser. Running it again only sets the password again.
--
-- The role owns its database, because it applies the migrations. It is not a superuser, and no other role may connect.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/renderhook/database_password`

SELECT 'CREATE ROLE renderhook' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'renderhook') \gexec
ALTER ROLE renderhook LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';

SELECT 'CREATE DATABASE renderhook OWNER renderhook ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'renderhook') \gexec
REVOKE ALL ON DATABASE renderhook FROM PUBLIC;
