create or replace function conveyor._session_name()
    returns text
    language sql
    stable
return format(
    '%s-%s', left(coalesce(nullif(current_setting('application_name'), ''), session_user::text), 80), pg_backend_pid()
);

comment on function conveyor._session_name is 'Whom to note for a caller that gives no instance.';
