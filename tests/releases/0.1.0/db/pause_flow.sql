-- conveyor.pause_flow: claims find nothing until resume_flow; what is claimed already goes on.
begin;
select plan(14);

select conveyor.configure_flow('survey', '{"lease": "90 s", "max_retries": 7}');
select conveyor.add_records_to_queue('survey', '[{}, {}, {}]');
select conveyor.add_record('invoice', '{}');
create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 2) as c;

select conveyor.pause_flow(p_flow_name => 'survey');

select results_eq(
    'select f.flow_name, f.paused_at between now() and clock_timestamp() from conveyor.flow as f',
    $$ values ('survey', true) $$,
    'the flow is marked with the time'
);

select results_eq(
    'select f.lease, f.max_retries from conveyor.flow as f',
    $$ values (interval '90 s', 7) $$,
    'its settings stay'
);

select is_empty($$ select from conveyor.claim_records_batch('survey', 10) $$, 'nothing of a paused flow is claimed');
select is(conveyor.next_due_at('survey'), 'infinity', 'nor is anything due');

select is(
    (select count(*) from conveyor.claim_records_batch('invoice', 10)), 1::bigint,
    'other flows are claimed as before'
);

select lives_ok($$ select conveyor.add_record('survey', '{}') $$, 'records may still be added');

select is(
    (
        select count(e.lease_expires_at)
        from held as h
        cross join conveyor.extend_leases(array[h.id], array[h.claim_token]) as e
    ),
    2::bigint, 'a heartbeat goes on'
);

select lives_ok(
    $$ select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h order by h.id limit 1 $$,
    'what is claimed is completed'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp()
where q.status = 'processing' and q.flow_name = 'survey';

select is((conveyor.maintain() ->> 'orphaned')::integer, 1, 'and is taken back when its lease ends');

create temporary table paused on commit drop as
select f.paused_at from conveyor.flow as f;
select conveyor.pause_flow('survey');

select results_eq(
    'select f.paused_at from conveyor.flow as f', 'select p.paused_at from paused as p',
    'pausing again keeps the first time'
);

select conveyor.configure_flow('survey', '{"lease": "2 minutes"}');

select results_eq(
    'select f.paused_at from conveyor.flow as f', 'select p.paused_at from paused as p',
    'a flow that is configured stays paused'
);

select conveyor.pause_flow('order');

select is(
    to_jsonb(f) - 'paused_at', to_jsonb(conveyor._flow_settings('nobody')) - 'paused_at' || '{"flow_name": "order"}',
    'a flow that nobody configured has the defaults'
)
from conveyor.flow as f
where f.flow_name = 'order';

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ('select conveyor.pause_flow(null)', 'p_flow_name is null'),
    ($$ select conveyor.pause_flow(' ') $$, 'p_flow_name is '' ''')
) as v (call, message);

select * from finish();
rollback;
