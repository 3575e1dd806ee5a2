-- How large a payload may be.

alter table conveyor.flow
    add column payload_limit bigint default 16777216,
    add constraint flow_payload_limit_valid check (payload_limit > 0);

comment on column conveyor.flow.payload_limit is
    'So many bytes may a payload have that is added, as jsonb before compression; null: no limit.';

-- Signatures of before. "drop … if exists" would say of each new database that it has none.
do $$
begin
    if to_regprocedure('conveyor._check_payloads(jsonb)') is not null then
        drop function conveyor._check_payloads(jsonb);
        drop function conveyor._check_dedup_keys(text[]);
    end if;
end;
$$;
