-- conveyor.check_integrity: what must always hold; no row means that it does.
begin;
select plan(27);

create temporary table found (problem text, record_id bigint, detail text, repaired boolean) on commit drop;

-- One record in each state, by way of the verbs.
select conveyor.configure_flow('retry', '{"retry_delay": "1 hour"}');
select conveyor.configure_flow('fragile', '{"crash_budget": 1}');
select conveyor.add_records_to_queue(f.flow_name, '[{}, {}, {}, {}, {}]')
from (values ('survey'), ('retry'), ('fragile')) as f (flow_name);

create temporary table held on commit drop as
select
    c.*,
    f.flow_name,
    row_number() over (partition by f.flow_name order by c.id) as n
from (values ('survey'), ('retry'), ('fragile')) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 4, 'worker-1') as c;

select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.n = 1;
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.n = 2;
select conveyor.release_records(array[h.id], array[h.claim_token]) from held as h where h.n = 3;

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.flow_name = 'fragile' and q.status = 'processing';

select is_empty('select i.* from conveyor.check_integrity() as i', 'leases that ended are no problem');

select conveyor.maintain();

select is_empty(
    'select i.* from conveyor.check_integrity() as i',
    'records that were completed, failed, retried, released, orphaned, quarantined, or are held: all is well'
);

select conveyor.reset_failed_records('survey');
select conveyor.requeue_records(array_agg(h.id)) from held as h;
insert into conveyor.processing_queue (flow_name, payload, status, created_at, claimed_at)
values
    ('raw', '{}', 'pending', '2100-01-01 00:00+00', null), ('raw', '{}', 'processing', '2020-01-01 00:00+00', null),
    ('raw', '{}', 'processing', '2020-01-01 00:00+00', '2020-01-01 00:00+00'),
    ('raw', '{}', 'completed', '2020-01-01 00:00+00', null), ('raw', '{}', 'failed', '2020-01-01 00:00+00', null);
update conveyor.processing_queue as q
set status = 'pending', flow_instance_id = null, claimed_at = null
where q.flow_name = 'survey';

select is_empty(
    'select i.* from conveyor.check_integrity() as i',
    'nor is a reset, a requeue, or raw SQL that is supported'
);

truncate table conveyor.processing_queue, conveyor.attempt;
select is_empty('select i.* from conveyor.check_integrity() as i', 'an empty queue has no problem');

-- Answered, but still leased.
insert into conveyor.processing_queue (flow_name, payload, status, claim_token, lease_expires_at)
values
    ('survey', '{"n": 1}', 'completed', 1, '2100-01-01 00:00+00'),
    ('survey', '{"n": 2}', 'failed', 2, '2020-01-01 00:00+00'),
    ('survey', '{"n": 3}', 'processing', 3, '2100-01-01 00:00+00');

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select results_eq(
    'select i.problem, i.record_id, i.repaired from conveyor.check_integrity() as i order by i.record_id',
    $$
    select 'answered, but still leased', k.id, false
    from kept as k
    where k.status <> 'processing'
    order by k.id
    $$,
    'a record that is completed or failed and has a lease is found'
);

select matches(min(i.detail), '^completed, leased until .*2100', 'the detail says what it is, and until when')
from conveyor.check_integrity() as i;

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k order by k.id',
    'without p_repair nothing is changed'
);

insert into found
select i.* from conveyor.check_integrity(p_repair => true) as i;

select results_eq(
    'select q.id, to_jsonb(q) from conveyor.processing_queue as q order by q.id',
    $$
    select k.id, case when k.status = 'processing' then to_jsonb(k) else to_jsonb(k) || '{"lease_expires_at": null}' end
    from kept as k
    order by k.id
    $$,
    'a repair ends their leases, and changes nothing else'
);

select results_eq(
    'select f.problem, f.repaired from found as f',
    $$ values ('answered, but still leased', true), ('answered, but still leased', true) $$,
    'a repair lists what it mended'
);

select is_empty('select i.* from conveyor.check_integrity() as i', 'after a repair all is well');

-- Attempts whose record is gone.
insert into conveyor.attempt (record_id, claim_token, outcome)
values (-1, 7, 'released'), (-1, null, 'orphaned'), ((select max(k.id) from kept as k), 8, 'failed');

select results_eq(
    'select i.problem, i.record_id, i.repaired from conveyor.check_integrity() as i',
    $$ values ('attempt of no record', -1::bigint, false), ('attempt of no record', -1, false) $$,
    'attempts whose record is gone are found'
);

select results_eq(
    'select i.problem, i.repaired from conveyor.check_integrity(true) as i',
    $$ values ('attempt of no record', true), ('attempt of no record', true) $$,
    'a repair takes them'
);

select results_eq(
    'select a.claim_token from conveyor.attempt as a', 'values (8::bigint)',
    'a repair removes those attempts, and no other'
);

-- A record that was completed by a claim which had given another answer before.
delete from conveyor.attempt;
insert into conveyor.attempt (record_id, claim_token, outcome)
values ((select min(k.id) from kept as k), 1, 'failed');

select results_eq(
    'select i.problem, i.record_id, i.repaired from conveyor.check_integrity(true) as i',
    $$ select 'answered twice', k.id, false from kept as k where k.claim_token = 1 $$,
    'a record that one claim answered twice is found, and cannot be mended'
);

update conveyor.processing_queue as q
set claimed_at = clock_timestamp()
where q.claim_token = 1;
select is_empty('select i.* from conveyor.check_integrity() as i', 'unless it was taken again by hand in between');

update conveyor.attempt as a
set claim_token = 99, ended_at = 'infinity';
select is_empty('select i.* from conveyor.check_integrity() as i', 'an attempt of another claim is no problem');

-- Counts that are off.
insert into conveyor.count_delta (flow_name, pending, processing, completed, failed)
values ('survey', 0, -1, 2, 0), ('ghost', 0, 0, 0, 3), ('even', 1, 0, 0, 0), ('even', -1, 0, 0, 0);

select results_eq(
    'select i.problem, i.record_id, i.detail, i.repaired from conveyor.check_integrity() as i order by i.detail',
    $$
    values
        (
            'counts are off', null::bigint,
            'flow ghost has 0 pending, 0 processing, 0 completed, -3 failed more than counted', false
        ),
        (
            'counts are off', null,
            'flow survey has 0 pending, 1 processing, -2 completed, 0 failed more than counted', false
        )
    $$,
    'each flow whose counts are not what count(*) says is found, and by how much'
);

select is(
    (conveyor.get_queue_status('ghost') ->> 'failed_records')::integer, 3,
    'without p_repair the counts stay as they are'
);

select results_eq(
    'select i.problem, i.repaired from conveyor.check_integrity(true) as i',
    $$ values ('counts are off', true), ('counts are off', true) $$,
    'a repair says so'
);

select is_empty('select i.* from conveyor.check_integrity() as i', 'after it they are right');

select is(
    conveyor.get_queue_status() -> 'by_flow',
    (
        select jsonb_build_object('survey', jsonb_build_object(
            'pending', count(*) filter (where q.status = 'pending'),
            'processing', count(*) filter (where q.status = 'processing'),
            'completed', count(*) filter (where q.status = 'completed'),
            'failed', count(*) filter (where q.status = 'failed')
        ))
        from conveyor.processing_queue as q
    ),
    'and a flow that has no record is gone'
);

truncate table conveyor.count_delta;

select results_eq(
    'select i.problem, i.detail from conveyor.check_integrity(true) as i',
    $$
    values (
        'counts are off', 'flow survey has 0 pending, 1 processing, 1 completed, 1 failed more than counted'
    )
    $$,
    'counts that were lost are counted anew'
);

select is_empty('select i.* from conveyor.check_integrity(true) as i', 'a second repair finds nothing');

select conveyor.maintain();
select is_empty('select i.* from conveyor.check_integrity() as i', 'nor does a check after a fold');

-- Ids that were given by hand, ahead of the sequence.
insert into conveyor.processing_queue (id, flow_name, payload)
values ((select s.last_value + 1000 from conveyor.processing_queue_id_seq as s), 'ahead', '{}');

select results_eq(
    'select i.problem, i.record_id, i.repaired from conveyor.check_integrity() as i',
    $$ select 'ids run out of step', q.id, false from conveyor.processing_queue as q where q.flow_name = 'ahead' $$,
    'an id ahead of the sequence is found: it would be handed out again'
);

select conveyor.check_integrity(true);

select is(
    conveyor.add_record('ahead', '{}') - q.id, 1::bigint,
    'a repair takes the sequence beyond it'
)
from conveyor.processing_queue as q
where q.flow_name = 'ahead';

-- An index that a failed reindex left behind.
update pg_index
set indisvalid = false
where indexrelid = 'conveyor.idx_processing_queue_failed'::regclass;

select results_eq(
    'select i.problem, i.record_id, i.detail, i.repaired from conveyor.check_integrity(true) as i',
    $$
    values (
        'index is not valid', null::bigint, 'reindex index conveyor.idx_processing_queue_failed', false
    )
    $$,
    'an index that is not valid is found; mending it is a command of its own, which is named'
);

select * from finish();
rollback;
