-- Sources: how far the rows of a table elsewhere have come into the queue.

create table conveyor.source_watermark (
    flow_name    text        not null,
    source       text        not null,
    key_kind     text        not null,
    definition   jsonb,
    read_to      bigint,
    overlap      bigint      not null default 0,
    window_from  bigint,
    revision     bigint      not null default 1,
    rows_added   bigint      not null default 0,
    opened_at    timestamptz not null default clock_timestamp(),
    moved_at     timestamptz,
    caught_up_at timestamptz,
    constraint source_watermark_pkey primary key (flow_name, source),
    constraint source_watermark_flow_name_valid check (length(flow_name) <= 100 and flow_name ~ '\S'),
    constraint source_watermark_key_kind_valid check (key_kind in ('id', 'rowversion')),
    constraint source_watermark_overlap_valid check (overlap >= 0)
);

comment on table conveyor.source_watermark is
    'One row for each source of a flow: up to where its rows are in the queue. Written with each page, by ingest_page.';
comment on column conveyor.source_watermark.key_kind is
    'id: a whole number, handed out before its commit; rowversion: read below what is still active.';
comment on column conveyor.source_watermark.definition is
    'What is read, in the words of the reader: the position is good for nothing else. Null since a reset.';
comment on column conveyor.source_watermark.read_to is
    'The highest key that was read, a rowversion as a number; null: nothing yet.';
comment on column conveyor.source_watermark.overlap is
    'So many keys below read_to are read again; purging keeps their records, whose dedup keys they meet.';
comment on column conveyor.source_watermark.window_from is
    'Not below this, whatever the overlap: records up to here may have been purged.';
comment on column conveyor.source_watermark.revision is 'Grows with each page: what a reader compares and sets.';
comment on column conveyor.source_watermark.caught_up_at is
    'When a reader last found nothing more that it may read: no rowversion above an open transaction.';
