-- What every run begins with: one installer at a time, the roles, the schema, the log of migrations.
-- Plain SQL: psql and the Python installer both run it.

set local client_min_messages = warning;
set local lock_timeout = '10s';

do $$
begin
    perform set_config('plpgsql.extra_errors', 'all', true);
    perform pg_advisory_xact_lock(hashtextextended('conveyor.install', 0));
exception
    when lock_not_available then
        raise exception using
            errcode = 'lock_not_available',
            message = 'another session is installing in this database',
            hint    = 'Wait for it, then try again; its pid has an advisory lock in pg_locks.';
end;
$$;

-- Whoever waits for a table makes every claim wait behind it: give up soon rather than hold up the workers.
set local lock_timeout = '3s';

do $$
begin
    -- Roles belong to the cluster: an installer in another database may create the same one at this
    -- moment.  By the time that is an error it has committed, so the next round finds its roles.
    loop
        begin
            if to_regrole('conveyor_owner') is null then
                create role conveyor_owner nologin;
            end if;
            if to_regrole('conveyor_producer') is null then
                create role conveyor_producer nologin;
            end if;
            if to_regrole('conveyor_worker') is null then
                create role conveyor_worker nologin;
            end if;
            if to_regrole('conveyor_viewer') is null then
                create role conveyor_viewer nologin;
            end if;
            if to_regrole('conveyor_operator') is null then
                create role conveyor_operator nologin;
            end if;
            exit;
        exception
            when duplicate_object or unique_violation then
                null;
            when insufficient_privilege then
                raise warning 'role % may not create roles: grants are left out', current_user
                    using hint = 'Let a role with createrole run this once more.';
                exit;
        end;
    end loop;
end;
$$;

do $$
declare
    v_owner text;
begin
    if to_regnamespace('conveyor') is null then
        begin
            if to_regrole('conveyor_owner') is not null and not pg_has_role('conveyor_owner', 'usage') then
                grant conveyor_owner to current_user;
            end if;
            create schema conveyor authorization conveyor_owner;
        exception
            when insufficient_privilege or undefined_object then
                if not has_database_privilege(current_database(), 'create') then
                    raise exception using
                        errcode = 'insufficient_privilege',
                        message = format('role %s may not create a schema in %s', current_user, current_database()),
                        hint    = format(
                            'Install as the owner of the database, or: grant create on database %I to %I.',
                            current_database(), current_user
                        );
                end if;
                raise warning 'role % may not act as conveyor_owner: the schema belongs to it instead', current_user
                    using hint = format('Before the first install, grant conveyor_owner to %I.', current_user);
                create schema conveyor;
        end;
        comment on schema conveyor is
            'pgconveyor: a processing queue. The functions are the interface: \df conveyor.* lists them, their comments say '
            'what each does.';
    end if;

    -- From here on everything is made by, and belongs to, the owner of the schema.
    perform set_config('conveyor.installer', current_user::text, true);
    v_owner := (select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'conveyor');
    perform set_config('role', v_owner, true);
exception
    when insufficient_privilege then
        if v_owner is null then
            raise;
        end if;
        raise exception using
            errcode = 'insufficient_privilege',
            message = format('the queue belongs to role %s, and role %s may not act as it', v_owner, current_user),
            hint    = format('Install as a role that may, or: grant %I to %I.', v_owner, current_user);
end;
$$;

create table if not exists conveyor.migration (
    name       text        not null constraint migration_pkey primary key,
    breaking   boolean     not null default false,
    applied_at timestamptz not null default clock_timestamp()
);

comment on table conveyor.migration is 'One row for each file of db/migrations that this database has run.';
comment on column conveyor.migration.breaking is 'Clients that do not know this migration must refuse to work.';
