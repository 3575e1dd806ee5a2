-- conveyor.configure_flow: what a flow does differently from the defaults.
begin;
select plan(53);

select conveyor.configure_flow(p_flow_name => 'survey', p_settings => '{"lease": "90 s"}');

select results_eq(
    'select f.* from conveyor.flow as f',
    $$
    values (
        'survey', interval '90 s', 3, null::interval, 2::numeric, 5, true, null::timestamptz, null::interval,
        16777216::bigint
    )
    $$,
    'what is not set has its default: 3 retries, none of them automatic, 5 crashes, input kept, payloads of 16 MB'
);

select conveyor.configure_flow(
    p_flow_name => 'survey',
    p_settings  => '{
        "max_retries": 7, "retry_delay": 2.5, "retry_backoff": 1.5, "crash_budget": 9, "keep_input": false,
        "retention": "30 days", "payload_limit": 1000
    }'
);

select results_eq(
    'select f.* from conveyor.flow as f',
    $$
    values (
        'survey', interval '90 s', 7, interval '2.5 s', 1.5, 9, false, null::timestamptz, interval '30 days',
        1000::bigint
    )
    $$,
    'each setting is stored, a number is an interval in seconds, and an absent key stays'
);

select conveyor.configure_flow(
    'survey', '{"max_retries": null, "retry_delay": null, "crash_budget": null, "payload_limit": null}'
);

select results_eq(
    'select f.* from conveyor.flow as f',
    $$
    values (
        'survey', interval '90 s', null::integer, null::interval, 1.5, null::integer, false,
        null::timestamptz, interval '30 days', null::bigint
    )
    $$,
    'null means off, and other keys stay'
);

select conveyor.configure_flow('survey', '{}');
select conveyor.configure_flow('invoice', '{"lease": 60, "retry_backoff": 1, "crash_budget": 1, "max_retries": 0}');
select conveyor.configure_flow('invoice', '{"retention": 0, "payload_limit": 1}');

select results_eq(
    'select f.* from conveyor.flow as f order by f.flow_name',
    $$
    values
        (
            'invoice', interval '1 minute', 0, null::interval, 1::numeric, 1, true,
            null::timestamptz, interval '0', 1::bigint
        ),
        ('survey', interval '90 s', null, null, 1.5, null, false, null, '30 days', null)
    $$,
    'no key changes nothing, flows are independent, and the least values are allowed'
);

create function pg_temp.limit_of(p_value text) returns bigint language plpgsql as $$
begin
    perform conveyor.configure_flow('bytes', format('{"payload_limit": %s}', p_value)::jsonb);
    return (select f.payload_limit from conveyor.flow as f where f.flow_name = 'bytes');
end;
$$;

select is(pg_temp.limit_of(v.said), v.bytes, 'a size may be said as ' || v.said)
from (
    values
    ('"512kB"', 524288), ('"16MB"', 16777216), ('"1.5 MB"', 1572864), ('"2000"', 2000), ('65536.0', 65536),
    ('9223372036854775807', 9223372036854775807)
) as v (said, bytes);

select conveyor.configure_flow('whole', '{"max_retries": 7.0, "crash_budget": 2e1, "lease": 60.50}');

select results_eq(
    $$ select f.max_retries, f.crash_budget, f.lease from conveyor.flow as f where f.flow_name = 'whole' $$,
    $$ values (7, 20, interval '60.5 s') $$,
    'a number that is whole may have a point'
);

select lives_ok(
    $$ select conveyor.configure_flow('survey', '{"retry_delay": 0, "retry_backoff": 100}') $$,
    'a delay of zero is allowed: retry at once'
);

select conveyor.configure_flow('invoice', '{"retention": 86400.5}');

select is(f.retention, '1 day 0.5 s', 'a retention may be seconds as well')
from conveyor.flow as f
where f.flow_name = 'invoice';

select conveyor.configure_flow('invoice', '{"retention": null}');

select is(f.retention, null, 'a retention of null keeps records')
from conveyor.flow as f
where f.flow_name = 'invoice';

-- Settings hold for what happens after them, to records that are there already as well.
select conveyor.add_record('survey', '{"n": 1}');
select conveyor.configure_flow('survey', '{"lease": "2 minutes", "keep_input": true}');
create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 1) as c;

select is(q.lease_expires_at - q.claimed_at, '2 minutes', 'the next claim has the new lease')
from conveyor.processing_queue as q;

select conveyor.configure_flow('survey', '{"lease": "1 s", "retry_delay": "1 hour", "max_retries": 1}');

select results_eq(
    'select q.lease_expires_at from conveyor.processing_queue as q',
    'select h.lease_expires_at from held as h',
    'a lease that runs is left alone'
);

select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h;

select is(
    (select q.status from conveyor.processing_queue as q), 'pending',
    'the next failure follows the new policy'
);

select throws_ok(
    format('select conveyor.configure_flow(%L, %L)', 'survey', '{"lease": "5 minutes", ' || v.settings || '}'),
    '22023', 'p_settings.' || v.message, 'a bad setting is refused by name: ' || v.message
)
from (
    values
    ('"lease_time": 5', 'lease_time is ''5'''),
    ('"retry_delay": "soon"', 'retry_delay is ''"soon"'''),
    ('"retry_delay": -1', 'retry_delay is ''-1'''),
    ('"retry_backoff": 0.5', 'retry_backoff is ''0.5'''),
    ('"retry_backoff": null', 'retry_backoff is ''null'''),
    ('"max_retries": -1', 'max_retries is ''-1'''),
    ('"max_retries": 1.5', 'max_retries is ''1.5'''),
    ('"keep_input": null', 'keep_input is ''null'''),
    ('"retry_delay": "infinity"', 'retry_delay is ''"infinity"'''),
    ('"crash_budget": 0', 'crash_budget is ''0'''),
    ('"retention": -1', 'retention is ''-1'''),
    ('"retention": "a while"', 'retention is ''"a while"'''),
    ('"retention": true', 'retention is ''true'''),
    ('"retention": "4000000 years"', 'retention is ''"4000000 years"'''),
    ('"max_retries": "7"', 'max_retries is ''"7"'''),
    ('"max_retries": 2147483648', 'max_retries is ''2147483648'''),
    ('"crash_budget": true', 'crash_budget is ''true'''),
    ('"retry_backoff": "2"', 'retry_backoff is ''"2"'''),
    ('"retry_backoff": 101', 'retry_backoff is ''101'''),
    ('"retention": [1]', 'retention is ''[1]'''),
    ('"payload_limit": 0', 'payload_limit is ''0'''),
    ('"payload_limit": -1', 'payload_limit is ''-1'''),
    ('"payload_limit": 1.5', 'payload_limit is ''1.5'''),
    ('"payload_limit": true', 'payload_limit is ''true'''),
    ('"payload_limit": "large"', 'payload_limit is ''"large"'''),
    ('"payload_limit": "0 kB"', 'payload_limit is ''"0 kB"'''),
    ('"payload_limit": "9 EB"', 'payload_limit is ''"9 EB"'''),
    ('"payload_limit": 9223372036854775808', 'payload_limit is ''9223372036854775808'''),
    ('"paused_at": "2020-01-01"', 'paused_at is ''"2020-01-01"'''),
    ('"keep_input": "yes"', 'keep_input is ''"yes"''')
) as v (settings, message);

create function pg_temp.remedy(p_settings text) returns text language plpgsql as $$
declare
    v_hint text;
begin
    perform conveyor.configure_flow('survey', p_settings::jsonb);
exception
    when invalid_parameter_value then
        get stacked diagnostics v_hint = pg_exception_hint;
        return v_hint;
end;
$$;

select is(
    pg_temp.remedy('{"leese": 1}'),
    'Give one of the keys lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention,'
    ' payload_limit.',
    'the remedy for a key that is none lists those that are'
);

select results_eq(
    $$ select f.lease from conveyor.flow as f where f.flow_name = 'survey' $$,
    $$ values (interval '1 s') $$,
    'a refused call changes nothing, not even the settings beside the bad one'
);

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.configure_flow(null, '{}') $$, 'p_flow_name is null'),
    ($$ select conveyor.configure_flow('survey', null) $$, 'p_settings is null'),
    ($$ select conveyor.configure_flow('survey', '[]') $$, 'p_settings is ''[]'''),
    ($$ select conveyor.configure_flow('survey', '{"lease": 0}') $$, 'p_settings.lease is ''0''')
) as v (call, message);

select * from finish();
rollback;
