-- conveyor.get_queue_status: counts by status, in total and by flow; exact, whoever wrote the rows.
begin;
select plan(23);

select is(
    conveyor.get_queue_status(),
    '{
        "total_records": 0, "pending_records": 0, "processing_records": 0,
        "completed_records": 0, "failed_records": 0, "by_flow": {}
    }',
    'an empty queue has all the keys, and zeros'
);

select is(
    conveyor.get_queue_status(p_flow_name => 'survey'),
    '{
        "total_records": 0, "pending_records": 0, "processing_records": 0,
        "completed_records": 0, "failed_records": 0,
        "by_flow": {"survey": {"pending": 0, "processing": 0, "completed": 0, "failed": 0}}
    }',
    'a flow that nobody knows has all the keys, and zeros'
);

select conveyor.add_records_to_queue('survey', '[{}, {}, {}, {}, {}, {}]');
select conveyor.add_record('invoice', '{}', p_run_at => '2100-01-01 00:00+00');
create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 4) as c;
select conveyor.mark_record_completed(min(h.id), '{}', min(h.claim_token)) from held as h;
select conveyor.mark_record_failed(max(h.id), 'no', max(h.claim_token)) from held as h;

select is(
    conveyor.get_queue_status(),
    '{
        "total_records": 7, "pending_records": 3, "processing_records": 2,
        "completed_records": 1, "failed_records": 1,
        "by_flow": {
            "survey": {"pending": 2, "processing": 2, "completed": 1, "failed": 1},
            "invoice": {"pending": 1, "processing": 0, "completed": 0, "failed": 0}
        }
    }',
    'each record counts once, in total and in its flow; a delayed one is pending'
);

select is(
    conveyor.get_queue_status(null), conveyor.get_queue_status(),
    'null means all flows'
);

select is(
    conveyor.get_queue_status('survey'),
    '{
        "total_records": 6, "pending_records": 2, "processing_records": 2,
        "completed_records": 1, "failed_records": 1,
        "by_flow": {"survey": {"pending": 2, "processing": 2, "completed": 1, "failed": 1}}
    }',
    'of one flow, the totals are those of the flow, too'
);

insert into conveyor.processing_queue (flow_name, payload, status)
values ('raw', '{}', 'pending'), ('raw', '{}', 'processing'), ('raw', '{}', 'completed'), ('raw', '{}', 'failed');

select is(
    conveyor.get_queue_status('raw'),
    '{
        "total_records": 4, "pending_records": 1, "processing_records": 1,
        "completed_records": 1, "failed_records": 1,
        "by_flow": {"raw": {"pending": 1, "processing": 1, "completed": 1, "failed": 1}}
    }',
    'rows that raw SQL inserted are counted'
);

update conveyor.processing_queue as q
set status = 'completed'
where q.flow_name = 'raw' and q.status <> 'failed';

select is(
    conveyor.get_queue_status('raw') -> 'by_flow' -> 'raw',
    '{"pending": 0, "processing": 0, "completed": 3, "failed": 1}',
    'a status that raw SQL changed is counted'
);

update conveyor.processing_queue as q
set flow_name = 'moved'
where q.flow_name = 'raw' and q.status = 'failed';

select is(
    (conveyor.get_queue_status() -> 'by_flow') - '{survey,invoice}'::text[],
    '{
        "raw": {"pending": 0, "processing": 0, "completed": 3, "failed": 0},
        "moved": {"pending": 0, "processing": 0, "completed": 0, "failed": 1}
    }',
    'a record that moved to another flow is counted there'
);

update conveyor.processing_queue as q
set status = 'pending'
where q.flow_name <> 'survey';

update conveyor.processing_queue as q
set flow_name = 'invoice'
where q.flow_name <> 'survey';

select is(
    (conveyor.get_queue_status() -> 'by_flow') - 'survey',
    '{"invoice": {"pending": 5, "processing": 0, "completed": 0, "failed": 0}}',
    'records that join another flow, none changing its status, are counted there'
);

create temporary table deleted on commit drop as
select q.* from conveyor.processing_queue as q where q.flow_name = 'survey';
delete from conveyor.processing_queue as q
where q.flow_name = 'survey';

select is(
    (conveyor.get_queue_status('survey') ->> 'total_records')::integer, 0,
    'deleted records are not counted'
);

do $$
begin
    insert into conveyor.processing_queue select d.* from deleted as d;
    raise exception 'no';
exception
    when raise_exception then null;
end;
$$;

select is(
    (conveyor.get_queue_status('survey') ->> 'total_records')::integer, 0,
    'an insert that was rolled back is not counted'
);

truncate table conveyor.processing_queue;

select is(
    conveyor.get_queue_status() - 'by_flow',
    '{
        "total_records": 0, "pending_records": 0, "processing_records": 0,
        "completed_records": 0, "failed_records": 0
    }',
    'after a truncate nothing is counted'
);

-- One transaction, one status after another.
create function pg_temp.counted() returns text language sql as $$
    select string_agg(
        concat_ws(',', s.key || ' ' || (s.value ->> 'pending'), s.value ->> 'processing',
            s.value ->> 'completed', s.value ->> 'failed'),
        ', ' order by s.key
    )
    from jsonb_each(conveyor.get_queue_status() -> 'by_flow') as s
$$;

insert into conveyor.processing_queue (id, flow_name, payload)
values (1, 'a', '{}'), (2, 'a', '{}'), (3, 'b', '{}');

select is(pg_temp.counted(), 'a 2,0,0,0, b 1,0,0,0', 'rows inserted after a truncate are counted');

insert into conveyor.processing_queue (id, flow_name, payload)
values (3, 'b', '{}'), (4, 'b', '{}')
on conflict (id) do update set status = 'failed', flow_name = 'c';

select is(
    pg_temp.counted(), 'a 2,0,0,0, b 1,0,0,0, c 0,0,0,1',
    'of an upsert, what was there is moved and what is new is added'
);

insert into conveyor.processing_queue (id, flow_name, payload)
values (1, 'a', '{}'), (5, 'a', '{}')
on conflict (id) do nothing;

select is(pg_temp.counted(), 'a 3,0,0,0, b 1,0,0,0, c 0,0,0,1', 'what an insert passes over is not counted');

with moved as (
    delete from conveyor.processing_queue as q
    where q.flow_name = 'a'
    returning q.id, q.payload
),

changed as (
    update conveyor.processing_queue as q
    set status = 'processing'
    where q.flow_name = 'b'
    returning q.id
)

insert into conveyor.processing_queue (id, flow_name, payload, status)
select
    m.id + 100 as id,
    'd' as flow_name,
    m.payload,
    'completed' as status
from moved as m;

select is(
    pg_temp.counted(), 'b 0,1,0,0, c 0,0,0,1, d 0,0,3,0',
    'of a statement that deletes, updates and inserts, all three are counted'
);

update conveyor.processing_queue as q
set
    flow_name = case q.flow_name when 'b' then 'c' when 'c' then 'b' else q.flow_name end,
    status = case q.status when 'failed' then 'processing' when 'processing' then 'failed' else q.status end;

select is(
    pg_temp.counted(), 'b 0,1,0,0, c 0,0,0,1, d 0,0,3,0',
    'an update in which records change places leaves the counts as they are'
);

update conveyor.processing_queue as q
set id = q.id + 1000, payload = '{"n": 1}', updated_at = clock_timestamp();

select is(pg_temp.counted(), 'b 0,1,0,0, c 0,0,0,1, d 0,0,3,0', 'so does one that moves nothing');

select conveyor.maintain();

select is(pg_temp.counted(), 'b 0,1,0,0, c 0,0,0,1, d 0,0,3,0', 'so does a fold');

delete from conveyor.processing_queue as q
where q.flow_name <> 'd';

select is(pg_temp.counted(), 'd 0,0,3,0', 'a flow without records is not listed');

truncate table conveyor.processing_queue restart identity;
select conveyor.add_record('e', '{}');

select is(pg_temp.counted(), 'e 1,0,0,0', 'what a truncate leaves behind is what comes after it');

select throws_ok(
    $$ select conveyor.get_queue_status(' ') $$,
    '22023', 'p_flow_name is '' ''',
    'a blank flow name is refused by name'
);

select throws_like(
    $$ select conveyor.get_queue_status(repeat('x', 101)) $$,
    'p_flow_name is ''xxx%',
    'a flow name that no record can have is refused by name'
);

select * from finish();
rollback;
