-- A user that only reads, for notebooks, dashboards and the console on a ClickHouse of your own.
-- Run it as an administrator, with a password of yours; a query may raise a limit up to its bound.
-- (The embedded engine has no users: there `headrace sql` and the console say the same by setting.)
CREATE SETTINGS PROFILE IF NOT EXISTS headrace_reader SETTINGS
    readonly = 2 CONST,
    max_execution_time = 60 MAX 600,
    max_result_rows = 1000000 MAX 10000000,
    max_result_bytes = 1073741824 MAX 8589934592,
    max_memory_usage = 4294967296 MAX 17179869184,
    cancel_http_readonly_queries_on_client_close = 1;

CREATE USER IF NOT EXISTS headrace_reader
    IDENTIFIED WITH sha256_password BY 'choose one'
    SETTINGS PROFILE 'headrace_reader';

-- A view reads its tables by the reader's own rights.
GRANT SELECT, SHOW ON headrace.* TO headrace_reader;
