CREATE SCHEMA conveyor;
ALTER SCHEMA conveyor OWNER TO conveyor_owner;
COMMENT ON SCHEMA conveyor IS 'pgconveyor: a processing queue. The functions are the interface: \df conveyor.* lists them, their comments say what each does.';
CREATE TYPE conveyor.scan_floor AS (
	rank integer,
	due_at timestamp with time zone,
	id bigint,
	looked_at timestamp with time zone,
	look_took interval
);
ALTER TYPE conveyor.scan_floor OWNER TO conveyor_owner;
COMMENT ON TYPE conveyor.scan_floor IS 'A place in claim order, and when this session last looked from the start and how long it took.';
CREATE FUNCTION conveyor._add_failures(p_source text, p_flow_name text, p_failures jsonb, p_priority smallint) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._add_failures(p_source text, p_flow_name text, p_failures jsonb, p_priority smallint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._add_failures(p_source text, p_flow_name text, p_failures jsonb, p_priority smallint) IS 'Adds failed records from an array of {payload, dedup_key, error}; returns the number of new ones.';
CREATE FUNCTION conveyor._answer_outcomes(p_ids bigint[], p_tokens bigint[], p_done bigint[], p_done_tokens bigint[], p_outcome text) RETURNS TABLE(id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_nestloop TO 'on'
    AS …;
ALTER FUNCTION conveyor._answer_outcomes(p_ids bigint[], p_tokens bigint[], p_done bigint[], p_done_tokens bigint[], p_outcome text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._answer_outcomes(p_ids bigint[], p_tokens bigint[], p_done bigint[], p_done_tokens bigint[], p_outcome text) IS 'Says done, repeated or lost for each answer of a bulk verb.';
CREATE FUNCTION conveyor._check_answers(p_ids bigint[], p_tokens bigint[], p_name text DEFAULT NULL::text, p_answers jsonb DEFAULT NULL::jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_answers(p_ids bigint[], p_tokens bigint[], p_name text, p_answers jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_answers(p_ids bigint[], p_tokens bigint[], p_name text, p_answers jsonb) IS 'Refuses ids, tokens and answers that do not pair up.';
CREATE FUNCTION conveyor._check_dedup_keys(p_name text, p_keys text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_dedup_keys(p_name text, p_keys text[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_dedup_keys(p_name text, p_keys text[]) IS 'Refuses a dedup key that is blank or too long for its index; %s in the name becomes its position.';
CREATE FUNCTION conveyor._check_errors(p_errors jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_errors(p_errors jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_errors(p_errors jsonb) IS 'Refuses a document of errors and names the first element that is wrong.';
CREATE FUNCTION conveyor._check_flow_name(p_flow_name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_flow_name(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_flow_name(p_flow_name text) IS 'Refuses a flow name that no record can have.';
CREATE FUNCTION conveyor._check_lease(p_lease interval) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_lease(p_lease interval) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_lease(p_lease interval) IS 'Refuses a lease that ends before it begins, or never.';
CREATE FUNCTION conveyor._check_payloads(p_payloads jsonb, p_limit bigint) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_payloads(p_payloads jsonb, p_limit bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_payloads(p_payloads jsonb, p_limit bigint) IS 'Refuses a document that is not an array of objects within the limit, and names the first element that is wrong.';
CREATE FUNCTION conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer) IS 'Refuses places that nobody can wait at.';
CREATE FUNCTION conveyor._check_schedule(p_priority smallint, p_run_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_schedule(p_priority smallint, p_run_at timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_schedule(p_priority smallint, p_run_at timestamp with time zone) IS 'Refuses a priority or a time that no record can have.';
CREATE FUNCTION conveyor._check_settings(p_settings jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_settings(p_settings jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_settings(p_settings jsonb) IS 'Refuses a setting of a flow that is unknown or out of range.';
CREATE FUNCTION conveyor._check_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) IS 'Refuses what cannot be a source, or a way to read one.';
CREATE FUNCTION conveyor._check_source_keys(p_source text, p_keys text[]) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._check_source_keys(p_source text, p_keys text[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._check_source_keys(p_source text, p_keys text[]) IS 'Refuses dedup keys that do not begin with the name of their source.';
CREATE FUNCTION conveyor._count_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._count_deleted() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_deleted() IS 'Counts the rows of a delete.';
CREATE FUNCTION conveyor._count_differences() RETURNS TABLE(flow_name text, pending bigint, processing bigint, completed bigint, failed bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._count_differences() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_differences() IS 'Where the counts are not what count(*) says, and by how much.';
CREATE FUNCTION conveyor._count_due(p_flow_name text, p_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._count_due(p_flow_name text, p_most integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_due(p_flow_name text, p_most integer) IS 'How many of the first records of a flow are due.';
CREATE FUNCTION conveyor._count_inserted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._count_inserted() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_inserted() IS 'Counts the rows of an insert or copy, and rings for those that are pending.';
CREATE FUNCTION conveyor._count_truncated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._count_truncated() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_truncated() IS 'Takes the counts back to zero before a truncate.';
CREATE FUNCTION conveyor._count_updated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._count_updated() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._count_updated() IS 'Counts what an update moved from status to status, or flow to flow, and rings for what is pending.';
CREATE FUNCTION conveyor._cut(p_text text, p_most integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((octet_length(p_text) > p_most) AND (length(p_text) > p_most)) THEN ((("left"(p_text, (p_most - 40)) || '... [cut: '::text) || (length(p_text))::text) || ' characters]'::text) ELSE p_text END;
ALTER FUNCTION conveyor._cut(p_text text, p_most integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._cut(p_text text, p_most integer) IS 'A text of at most p_most (over 40) characters; a longer one is cut, and says that and how long it was.';
CREATE FUNCTION conveyor._jsonb_size(p_value jsonb) RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (pg_column_compression(p_value) IS NULL) THEN pg_column_size(p_value) ELSE pg_column_size((jsonb_build_array(p_value) -> 0)) END;
ALTER FUNCTION conveyor._jsonb_size(p_value jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._jsonb_size(p_value jsonb) IS 'The bytes of a jsonb value before compression.';
CREATE FUNCTION conveyor._cut_context(p_context jsonb) RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (conveyor._jsonb_size(p_context) > 65536) THEN jsonb_build_object('cut', conveyor._cut((p_context)::text, 10000)) ELSE p_context END;
ALTER FUNCTION conveyor._cut_context(p_context jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._cut_context(p_context jsonb) IS 'A context of at most 64 kB; of a larger one, where its text begins.';
CREATE FUNCTION conveyor._database_diagnostics(p_at timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._database_diagnostics(p_at timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._database_diagnostics(p_at timestamp with time zone) IS 'Size, dead rows, and who keeps them from being removed.';
CREATE FUNCTION conveyor._error_analysis(p_since timestamp with time zone, p_most integer DEFAULT 10000) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS …;
ALTER FUNCTION conveyor._error_analysis(p_since timestamp with time zone, p_most integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._error_analysis(p_since timestamp with time zone, p_most integer) IS 'Errors since a time, grouped by type, with an example of each.';
CREATE FUNCTION conveyor._find_issues(p_at timestamp with time zone, p_thresholds jsonb) RETURNS TABLE(severity text, issue text, remedy text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._find_issues(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._find_issues(p_at timestamp with time zone, p_thresholds jsonb) IS 'All that is wrong, the worst first: how bad, what, and what to call.';
CREATE FUNCTION conveyor._floor_setting(p_flow_name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('conveyor.floor_'::text || to_hex(hashtextextended(p_flow_name, (0)::bigint)));
ALTER FUNCTION conveyor._floor_setting(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._floor_setting(p_flow_name text) IS 'The session setting that keeps the claim floor of a flow.';
CREATE FUNCTION conveyor._flow_health(p_at timestamp with time zone, p_thresholds jsonb) RETURNS TABLE(flow_name text, pending bigint, processing bigint, completed bigint, failed bigint, oldest_due_at timestamp with time zone, paused_at timestamp with time zone, completed_lately bigint, failed_lately bigint, holders bigint, orphaned bigint, silent bigint, orphaned_since timestamp with time zone, silent_since timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS …;
ALTER FUNCTION conveyor._flow_health(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._flow_health(p_at timestamp with time zone, p_thresholds jsonb) IS 'For each flow that has records, or had lately, the numbers by which it is judged.';
CREATE FUNCTION conveyor._flow_issues(p_at timestamp with time zone, p_thresholds jsonb) RETURNS TABLE(severity text, issue text, remedy text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._flow_issues(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._flow_issues(p_at timestamp with time zone, p_thresholds jsonb) IS 'What is wrong with flows: how bad, what, and what to call.';
CREATE FUNCTION conveyor._flow_metrics(p_at timestamp with time zone, p_thresholds jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._flow_metrics(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._flow_metrics(p_at timestamp with time zone, p_thresholds jsonb) IS 'What is known of each flow: its records, its backlog, its holders, its performance.';
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE conveyor.flow (
    flow_name text NOT NULL,
    lease interval DEFAULT '01:00:00'::interval NOT NULL,
    max_retries integer DEFAULT 3,
    retry_delay interval,
    retry_backoff numeric DEFAULT 2 NOT NULL,
    crash_budget integer DEFAULT 5,
    keep_input boolean DEFAULT true NOT NULL,
    paused_at timestamp with time zone,
    retention interval,
    payload_limit bigint DEFAULT 16777216,
    CONSTRAINT flow_crash_budget_valid CHECK ((crash_budget >= 1)),
    CONSTRAINT flow_flow_name_valid CHECK (((length(flow_name) <= 100) AND (flow_name ~ '\S'::text))),
    CONSTRAINT flow_lease_valid CHECK ((lease > '00:00:00'::interval)),
    CONSTRAINT flow_max_retries_valid CHECK ((max_retries >= 0)),
    CONSTRAINT flow_payload_limit_valid CHECK ((payload_limit > 0)),
    CONSTRAINT flow_retention_valid CHECK ((retention >= '00:00:00'::interval)),
    CONSTRAINT flow_retry_backoff_valid CHECK (((retry_backoff >= (1)::numeric) AND (retry_backoff <= (100)::numeric))),
    CONSTRAINT flow_retry_delay_valid CHECK ((retry_delay >= '00:00:00'::interval))
);
ALTER TABLE conveyor.flow OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.flow IS 'Settings of flows that differ from the defaults. Optional: a flow without a row has the defaults of this table.';
COMMENT ON COLUMN conveyor.flow.lease IS 'How long a claim lasts that does not say otherwise.';
COMMENT ON COLUMN conveyor.flow.max_retries IS 'How many automatic retries a record gets; null: no limit.';
COMMENT ON COLUMN conveyor.flow.retry_delay IS 'Wait before the first automatic retry; null: a failure is final.';
COMMENT ON COLUMN conveyor.flow.retry_backoff IS 'Each further wait is so many times longer, up to a day.';
COMMENT ON COLUMN conveyor.flow.crash_budget IS 'So many leases may end without an answer before the record is failed; null: no limit.';
COMMENT ON COLUMN conveyor.flow.keep_input IS 'Keep what was asked in input when payload takes the answer.';
COMMENT ON COLUMN conveyor.flow.paused_at IS 'Since when nothing of the flow is claimed; null: it runs.';
COMMENT ON COLUMN conveyor.flow.retention IS 'Records completed longer ago are purged by maintain(); null: kept.';
COMMENT ON COLUMN conveyor.flow.payload_limit IS 'So many bytes may a payload have that is added, as jsonb before compression; null: no limit.';
CREATE FUNCTION conveyor._flow_settings(p_flow_name text) RETURNS conveyor.flow
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._flow_settings(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._flow_settings(p_flow_name text) IS 'The settings of a flow, configured or default.';
CREATE FUNCTION conveyor._fold_counts() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._fold_counts() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._fold_counts() IS 'Folds the deltas of the counts, and returns how many there were.';
CREATE FUNCTION conveyor._held_records(p_at timestamp with time zone, p_silent_for interval) RETURNS TABLE(flow_name text, flow_instance_id text, held bigint, orphaned bigint, silent bigint, orphaned_since timestamp with time zone, silent_since timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._held_records(p_at timestamp with time zone, p_silent_for interval) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._held_records(p_at timestamp with time zone, p_silent_for interval) IS 'Records in processing by flow and holder, and how many of them are orphaned.';
CREATE FUNCTION conveyor._horizon_holders() RETURNS TABLE(holder text, transactions bigint, since timestamp with time zone, remedy text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._horizon_holders() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._horizon_holders() IS 'What keeps dead rows from being removed: sessions, prepared transactions, slots.';
CREATE FUNCTION conveyor._hourly_trends(p_since timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._hourly_trends(p_since timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._hourly_trends(p_since timestamp with time zone) IS 'Records completed and failed in each hour in which there were some.';
CREATE FUNCTION conveyor._is_locked(p_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._is_locked(p_id bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._is_locked(p_id bigint) IS 'Whether another session has locked a record; leaves no lock behind.';
CREATE FUNCTION conveyor._is_taken(p_key bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._is_taken(p_key bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._is_taken(p_key bigint) IS 'Whether another session holds this seat.';
CREATE FUNCTION conveyor._iso_time(p_time timestamp with time zone) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._iso_time(p_time timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._iso_time(p_time timestamp with time zone) IS 'A time as reports show it: ISO 8601, UTC.';
CREATE FUNCTION conveyor._lock_orphans(p_silent_for interval, p_flow_name text, p_limit integer) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._lock_orphans(p_silent_for interval, p_flow_name text, p_limit integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._lock_orphans(p_silent_for interval, p_flow_name text, p_limit integer) IS 'Locks and returns records in processing whose lease ended, or that were silent for so long.';
CREATE FUNCTION conveyor._monitoring_thresholds(p_given jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._monitoring_thresholds(p_given jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._monitoring_thresholds(p_given jsonb) IS 'The thresholds of monitoring: the defaults, and what was given.';
CREATE FUNCTION conveyor._next_look(p_floor conveyor.scan_floor) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN ((p_floor).looked_at + LEAST('00:00:05'::interval, GREATEST('00:00:00.1'::interval, ((20)::double precision * (p_floor).look_took))));
ALTER FUNCTION conveyor._next_look(p_floor conveyor.scan_floor) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._next_look(p_floor conveyor.scan_floor) IS 'When a session with this floor looks from the start again.';
CREATE FUNCTION conveyor._oldest_due(p_flow_names text[]) RETURNS TABLE(flow_name text, due_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._oldest_due(p_flow_names text[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._oldest_due(p_flow_names text[]) IS 'When the pending record of each flow that is due first, whatever its priority, is due.';
CREATE FUNCTION conveyor._orphaned_analysis(p_at timestamp with time zone, p_thresholds jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._orphaned_analysis(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._orphaned_analysis(p_at timestamp with time zone, p_thresholds jsonb) IS 'How many records are orphaned, by flow and holder, and since when nothing was heard.';
CREATE FUNCTION conveyor._performance(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS TABLE(flow_name text, metrics jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS …;
ALTER FUNCTION conveyor._performance(p_since timestamp with time zone, p_until timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._performance(p_since timestamp with time zone, p_until timestamp with time zone) IS 'Throughput, success and times in a window, by flow and of all.';
CREATE FUNCTION conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb) IS 'Which flows failed too much in the window of a report, and what to call.';
CREATE TABLE conveyor.processing_queue (
    id bigint NOT NULL,
    flow_name text NOT NULL,
    payload jsonb NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    flow_instance_id text,
    claimed_at timestamp with time zone,
    completed_at timestamp with time zone,
    error_message text,
    retry_count integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    run_at timestamp with time zone,
    dedup_key text,
    claim_token bigint,
    lease_expires_at timestamp with time zone,
    heartbeat_at timestamp with time zone,
    crash_count integer DEFAULT 0 NOT NULL,
    failure_kind text,
    input jsonb,
    CONSTRAINT processing_queue_crash_count_valid CHECK ((crash_count >= 0)),
    CONSTRAINT processing_queue_failure_kind_valid CHECK ((failure_kind = ANY (ARRAY['error'::text, 'crashed'::text, 'cancelled'::text]))),
    CONSTRAINT processing_queue_flow_name_valid CHECK (((length(flow_name) <= 100) AND (flow_name ~ '\S'::text))),
    CONSTRAINT processing_queue_retry_count_valid CHECK ((retry_count >= 0)),
    CONSTRAINT processing_queue_status_valid CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text])))
)
WITH (fillfactor='100', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='5000', autovacuum_analyze_scale_factor='0.05');
ALTER TABLE conveyor.processing_queue OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.processing_queue IS 'The records: one row each, from enqueueing to the answer and after. Change state by the functions.';
COMMENT ON COLUMN conveyor.processing_queue.flow_name IS 'Which queue the record is in.';
COMMENT ON COLUMN conveyor.processing_queue.payload IS 'What is asked; once completed, the answer (the question is in input).';
COMMENT ON COLUMN conveyor.processing_queue.flow_instance_id IS 'Who claimed it last; stays when it is answered.';
COMMENT ON COLUMN conveyor.processing_queue.error_message IS 'The error of the last failed attempt; attempt has all of them.';
COMMENT ON COLUMN conveyor.processing_queue.retry_count IS 'How often it failed or was orphaned.';
COMMENT ON COLUMN conveyor.processing_queue.priority IS 'Higher goes first.';
COMMENT ON COLUMN conveyor.processing_queue.run_at IS 'Not before; null: from created_at on.';
COMMENT ON COLUMN conveyor.processing_queue.dedup_key IS 'Unique in the flow while the record exists.';
COMMENT ON COLUMN conveyor.processing_queue.claim_token IS 'Fences the holder''s writes. Stays on an answered record, so that the same answer is accepted again.';
COMMENT ON COLUMN conveyor.processing_queue.lease_expires_at IS 'Until when the holder may answer unasked; null: nobody holds it, and no token is good.';
COMMENT ON COLUMN conveyor.processing_queue.heartbeat_at IS 'When the holder last extended its lease.';
COMMENT ON COLUMN conveyor.processing_queue.crash_count IS 'How many leases ended without an answer.';
COMMENT ON COLUMN conveyor.processing_queue.failure_kind IS 'Why it is failed: error (the handler said so; null means the same), crashed (budget used up), cancelled.';
COMMENT ON COLUMN conveyor.processing_queue.input IS 'What was asked, once payload has the answer (see flow.keep_input).';
CREATE FUNCTION conveyor._place_in_line(p_record conveyor.processing_queue) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._place_in_line(p_record conveyor.processing_queue) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._place_in_line(p_record conveyor.processing_queue) IS 'How many due records go before this one.';
CREATE FUNCTION conveyor._raise_claim_lost(p_id bigint, p_token bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_claim_lost(p_id bigint, p_token bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_claim_lost(p_id bigint, p_token bigint) IS 'Raises WQ001 or WQ002 for a fenced write that matched nothing.';
CREATE FUNCTION conveyor._raise_floor(p_setting text, p_floor conveyor.scan_floor, p_token bigint, p_lease_end timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_floor(p_setting text, p_floor conveyor.scan_floor, p_token bigint, p_lease_end timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_floor(p_setting text, p_floor conveyor.scan_floor, p_token bigint, p_lease_end timestamp with time zone) IS 'Keeps the claim floor of this session in its setting.';
CREATE FUNCTION conveyor._raise_invalid(p_argument text, p_value text, p_remedy text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_invalid(p_argument text, p_value text, p_remedy text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_invalid(p_argument text, p_value text, p_remedy text) IS 'Raises invalid_parameter_value (22023) for an argument.';
CREATE TABLE conveyor.source_watermark (
    flow_name text NOT NULL,
    source text NOT NULL,
    key_kind text NOT NULL,
    definition jsonb,
    read_to bigint,
    overlap bigint DEFAULT 0 NOT NULL,
    window_from bigint,
    revision bigint DEFAULT 1 NOT NULL,
    rows_added bigint DEFAULT 0 NOT NULL,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    moved_at timestamp with time zone,
    caught_up_at timestamp with time zone,
    CONSTRAINT source_watermark_flow_name_valid CHECK (((length(flow_name) <= 100) AND (flow_name ~ '\S'::text))),
    CONSTRAINT source_watermark_key_kind_valid CHECK ((key_kind = ANY (ARRAY['id'::text, 'rowversion'::text]))),
    CONSTRAINT source_watermark_overlap_valid CHECK ((overlap >= 0))
);
ALTER TABLE conveyor.source_watermark OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.source_watermark IS 'One row for each source of a flow: up to where its rows are in the queue. Written with each page, by ingest_page.';
COMMENT ON COLUMN conveyor.source_watermark.key_kind IS 'id: a whole number, handed out before its commit; rowversion: read below what is still active.';
COMMENT ON COLUMN conveyor.source_watermark.definition IS 'What is read, in the words of the reader: the position is good for nothing else. Null since a reset.';
COMMENT ON COLUMN conveyor.source_watermark.read_to IS 'The highest key that was read, a rowversion as a number; null: nothing yet.';
COMMENT ON COLUMN conveyor.source_watermark.overlap IS 'So many keys below read_to are read again; purging keeps their records, whose dedup keys they meet.';
COMMENT ON COLUMN conveyor.source_watermark.window_from IS 'Not below this, whatever the overlap: records up to here may have been purged.';
COMMENT ON COLUMN conveyor.source_watermark.revision IS 'Grows with each page: what a reader compares and sets.';
COMMENT ON COLUMN conveyor.source_watermark.caught_up_at IS 'When a reader last found nothing more that it may read: no rowversion above an open transaction.';
CREATE FUNCTION conveyor._raise_source_changed(p_mark conveyor.source_watermark, p_key_kind text, p_definition jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_source_changed(p_mark conveyor.source_watermark, p_key_kind text, p_definition jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_source_changed(p_mark conveyor.source_watermark, p_key_kind text, p_definition jsonb) IS 'Raises WQ005 for a watermark that belongs to something else.';
CREATE FUNCTION conveyor._raise_source_moved(p_source text, p_flow_name text, p_revision bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_source_moved(p_source text, p_flow_name text, p_revision bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_source_moved(p_source text, p_flow_name text, p_revision bigint) IS 'Raises WQ004 for a page that was read behind another watermark.';
CREATE FUNCTION conveyor._raise_source_unknown(p_source text, p_flow_name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_source_unknown(p_source text, p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_source_unknown(p_source text, p_flow_name text) IS 'Raises invalid_parameter_value (22023) for a source without a watermark.';
CREATE FUNCTION conveyor._raise_too_large(p_argument text, p_size integer, p_limit bigint) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._raise_too_large(p_argument text, p_size integer, p_limit bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._raise_too_large(p_argument text, p_size integer, p_limit bigint) IS 'Raises invalid_parameter_value (22023) for a payload over the limit.';
CREATE FUNCTION conveyor._read_after(p_mark conveyor.source_watermark) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN GREATEST(CASE WHEN (((p_mark).read_to)::numeric >= (((p_mark).overlap)::numeric - '9223372036854775808'::numeric)) THEN ((p_mark).read_to - (p_mark).overlap) ELSE NULL::bigint END, (p_mark).window_from);
ALTER FUNCTION conveyor._read_after(p_mark conveyor.source_watermark) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._read_after(p_mark conveyor.source_watermark) IS 'The key after which a reader of the source begins; nothing above it is purged.';
CREATE FUNCTION conveyor._read_floor(p_setting text) RETURNS conveyor.scan_floor
    LANGUAGE sql STABLE
    RETURN (NULLIF(current_setting(p_setting, true), ''::text))::conveyor.scan_floor;
ALTER FUNCTION conveyor._read_floor(p_setting text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._read_floor(p_setting text) IS 'The floor that this session keeps in its setting; null while there is none.';
CREATE FUNCTION conveyor._retry_delay(p_delay interval, p_backoff numeric, p_retry_count integer) RETURNS interval
    LANGUAGE sql STRICT
    RETURN make_interval(secs => (LEAST((GREATEST((86400)::numeric, EXTRACT(epoch FROM p_delay)))::double precision, ((EXTRACT(epoch FROM p_delay))::double precision * power((p_backoff)::double precision, (LEAST(p_retry_count, 64))::double precision))) * ((1)::double precision + (random() / (10)::double precision))));
ALTER FUNCTION conveyor._retry_delay(p_delay interval, p_backoff numeric, p_retry_count integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._retry_delay(p_delay interval, p_backoff numeric, p_retry_count integer) IS 'How long a record waits that failed p_retry_count times before: up to a day, or the delay if that is longer.';
CREATE FUNCTION conveyor._return_failed(p_ids bigint[], p_afresh boolean) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._return_failed(p_ids bigint[], p_afresh boolean) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._return_failed(p_ids bigint[], p_afresh boolean) IS 'Puts failed records back to pending, with their counts or afresh.';
CREATE FUNCTION conveyor._return_orphans(p_ids bigint[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._return_orphans(p_ids bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._return_orphans(p_ids bigint[]) IS 'Takes records from holders that are gone, and counts them.';
CREATE FUNCTION conveyor._ring(p_flow_names text[], p_reason text DEFAULT 'empty'::text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._ring(p_flow_names text[], p_reason text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._ring(p_flow_names text[], p_reason text) IS 'Wakes who sleeps for these flows, and nobody while everybody is busy.';
CREATE FUNCTION conveyor._server_issues(p_at timestamp with time zone, p_thresholds jsonb) RETURNS TABLE(severity text, issue text, remedy text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._server_issues(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._server_issues(p_at timestamp with time zone, p_thresholds jsonb) IS 'What is wrong with the queue as a whole: how bad, what, and what to call.';
CREATE FUNCTION conveyor._session_name() RETURNS text
    LANGUAGE sql STABLE
    RETURN format('%s-%s'::text, "left"(COALESCE(NULLIF(current_setting('application_name'::text), ''::text), (SESSION_USER)::text), 80), pg_backend_pid());
ALTER FUNCTION conveyor._session_name() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._session_name() IS 'Whom to note for a caller that gives no instance.';
CREATE FUNCTION conveyor._sit(p_flow_name text, p_reason text, p_held integer, p_closed boolean, p_size integer) RETURNS TABLE(seat integer, door_closed boolean, confirmed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._sit(p_flow_name text, p_reason text, p_held integer, p_closed boolean, p_size integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._sit(p_flow_name text, p_reason text, p_held integer, p_closed boolean, p_size integer) IS 'Takes or keeps a seat at one place, and closes its door from seat 0.';
CREATE FUNCTION conveyor._throughput(p_since timestamp with time zone) RETURNS TABLE(flow_name text, minute timestamp with time zone, completed numeric, failed numeric, wait_seconds double precision, run_seconds double precision)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    AS …;
ALTER FUNCTION conveyor._throughput(p_since timestamp with time zone) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._throughput(p_since timestamp with time zone) IS 'Records completed and failed, and their times in sum, by flow and minute.';
CREATE FUNCTION conveyor._time_percentiles(p_since timestamp with time zone, p_until timestamp with time zone, p_most integer DEFAULT 10000) RETURNS TABLE(flow_name text, records bigint, exact boolean, wait_p50 double precision, wait_p95 double precision, run_p50 double precision, run_p95 double precision)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor._time_percentiles(p_since timestamp with time zone, p_until timestamp with time zone, p_most integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._time_percentiles(p_since timestamp with time zone, p_until timestamp with time zone, p_most integer) IS 'p50 and p95 of wait and run time in a window, by flow and of all.';
CREATE FUNCTION conveyor._to_bytes(p_value jsonb) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._to_bytes(p_value jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._to_bytes(p_value jsonb) IS 'A JSON text such as "16MB", or a whole number, as bytes; null when it is none.';
CREATE FUNCTION conveyor._to_interval(p_value jsonb) RETURNS interval
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor._to_interval(p_value jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._to_interval(p_value jsonb) IS 'A JSON text or number of seconds as an interval; null when it is none.';
CREATE FUNCTION conveyor._wake_key(p_flow_name text, p_reason text, p_part integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN hashtextextended(p_flow_name, (((hashtext(p_reason))::bigint * 1024) + p_part));
ALTER FUNCTION conveyor._wake_key(p_flow_name text, p_reason text, p_part integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._wake_key(p_flow_name text, p_reason text, p_part integer) IS 'The advisory lock of a part of a place.';
CREATE FUNCTION conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('conveyor_'::text || to_hex(conveyor._wake_key(p_flow_name, p_reason, p_part)));
ALTER FUNCTION conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer) IS 'Where whoever sits on that seat listens.';
CREATE FUNCTION conveyor._window_start(p_at timestamp with time zone, p_thresholds jsonb) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    RETURN date_trunc('minute'::text, (p_at - ('00:01:00'::interval * ((p_thresholds ->> 'window_minutes'::text))::double precision)));
ALTER FUNCTION conveyor._window_start(p_at timestamp with time zone, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor._window_start(p_at timestamp with time zone, p_thresholds jsonb) IS 'The whole minute at which the window of queue health begins.';
CREATE FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint DEFAULT 0, p_run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_dedup_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) IS 'Adds one record and returns its id, or the id of the record that has the dedup key.';
CREATE FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint DEFAULT 0, p_run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_dedup_keys text[] DEFAULT NULL::text[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) IS 'Adds a JSON array of payloads and returns the number of new records.';
CREATE FUNCTION conveyor.cancel_records(p_ids bigint[], p_reason text DEFAULT NULL::text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.cancel_records(p_ids bigint[], p_reason text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.cancel_records(p_ids bigint[], p_reason text) IS 'Fails pending and processing records, kind cancelled, and revokes their claims; returns how many.';
CREATE FUNCTION conveyor.check_client(p_migrations text[]) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.check_client(p_migrations text[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.check_client(p_migrations text[]) IS 'Raises WQ901 when the database has a breaking migration that is not among these, which the client knows.';
CREATE FUNCTION conveyor.check_integrity(p_repair boolean DEFAULT false) RETURNS TABLE(problem text, record_id bigint, detail text, repaired boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.check_integrity(p_repair boolean) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.check_integrity(p_repair boolean) IS 'Lists what breaks the promises of the queue; p_repair mends what can be mended. No row: all is well.';
CREATE FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text DEFAULT NULL::text, p_lease interval DEFAULT NULL::interval) RETURNS TABLE(id bigint, payload jsonb, retry_count integer, created_at timestamp with time zone, claim_token bigint, lease_expires_at timestamp with time zone, crash_count integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text, p_lease interval) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text, p_lease interval) IS 'Claims up to p_batch_size records for p_lease (default: the flow''s), in order; no row: none is ready.';
CREATE FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric DEFAULT NULL::numeric, p_flow_name text DEFAULT NULL::text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric, p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric, p_flow_name text) IS 'Takes back orphaned records, to pending or, over the crash budget, to failed; returns how many left processing.';
CREATE FUNCTION conveyor.configure_flow(p_flow_name text, p_settings jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.configure_flow(p_flow_name text, p_settings jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.configure_flow(p_flow_name text, p_settings jsonb) IS 'Sets lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention, payload_limit.';
CREATE FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval DEFAULT NULL::interval) RETURNS TABLE(id bigint, lease_expires_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    AS …;
ALTER FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval) IS 'Extends leases to p_lease (default: the flow''s) from now; null for a record whose claim is lost.';
CREATE FUNCTION conveyor.forget_source(p_source text, p_flow_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.forget_source(p_source text, p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.forget_source(p_source text, p_flow_name text) IS 'Deletes the watermark of a source; what was added from it stays.';
CREATE FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) RETURNS TABLE(id bigint, outcome text, error text, error_type text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) IS 'For each claimed record: completed, failed, released, orphaned, cancelled, processing, or lost without a trace.';
CREATE FUNCTION conveyor.get_queue_status(p_flow_name text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.get_queue_status(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.get_queue_status(p_flow_name text) IS 'Counts of records by status, in total and by flow, in one snapshot.';
CREATE FUNCTION conveyor.get_record(p_id bigint) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.get_record(p_id bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.get_record(p_id bigint) IS 'Everything about a record, with its attempts that did not complete. Raises WQ002.';
CREATE FUNCTION conveyor.health_check() RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.health_check() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.health_check() IS 'Whether the queue is healthy, degraded or unhealthy, why, and how many records it has.';
CREATE FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb DEFAULT '[]'::jsonb, p_priority smallint DEFAULT 0, p_is_last boolean DEFAULT false) RETURNS TABLE(revision bigint, added integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb, p_priority smallint, p_is_last boolean) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb, p_priority smallint, p_is_last boolean) IS 'Adds a page of a source and moves its watermark in one transaction. Raises WQ004 when somebody else moved it.';
CREATE FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer DEFAULT NULL::integer, p_size integer DEFAULT 8) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer, p_size integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer, p_size integer) IS 'Gives up all seats of this session, and calls other sleepers in its stead.';
CREATE FUNCTION conveyor.list_records(p_flow_name text, p_status text DEFAULT NULL::text, p_after_id bigint DEFAULT 0, p_limit integer DEFAULT 50) RETURNS TABLE(id bigint, status text, priority smallint, created_at timestamp with time zone, run_at timestamp with time zone, claimed_at timestamp with time zone, completed_at timestamp with time zone, lease_expires_at timestamp with time zone, flow_instance_id text, retry_count integer, crash_count integer, failure_kind text, error_message text, dedup_key text, payload jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.list_records(p_flow_name text, p_status text, p_after_id bigint, p_limit integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.list_records(p_flow_name text, p_status text, p_after_id bigint, p_limit integer) IS 'A page of the records of a flow, by id; the next page begins after the last id of this one.';
CREATE FUNCTION conveyor.list_sleepers(p_flow_name text DEFAULT NULL::text, p_size integer DEFAULT 8) RETURNS TABLE(flow_name text, reason text, seat integer, door_closed boolean, pid integer, application_name text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) IS 'Who sleeps until there is work, for which flow and why; the door of the place is closed while somebody answers.';
CREATE FUNCTION conveyor.list_sources(p_flow_name text DEFAULT NULL::text) RETURNS TABLE(source text, flow_name text, key_kind text, read_to bigint, overlap bigint, rows_added bigint, definition jsonb, moved_at timestamp with time zone, caught_up_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.list_sources(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.list_sources(p_flow_name text) IS 'The sources that rows come from, of one flow or of all: how far each was read, and when nothing more was left.';
CREATE FUNCTION conveyor.maintain() RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.maintain() OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.maintain() IS 'Takes back records whose lease ended, folds the counts, purges by retention; returns what it did.';
CREATE FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) IS 'Completes a record that p_token still holds; a null result is {}. May be repeated. Raises WQ001 or WQ002.';
CREATE FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text DEFAULT NULL::text, p_context jsonb DEFAULT NULL::jsonb, p_permanent boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text, p_context jsonb, p_permanent boolean) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text, p_context jsonb, p_permanent boolean) IS 'Fails a record that p_token still holds; p_permanent: without retry. May be repeated. Raises WQ001 or WQ002.';
CREATE FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) RETURNS TABLE(id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    SET work_mem TO '1GB'
    AS …;
ALTER FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) IS 'Stores a JSON array of results and completes their records; outcome done, repeated or lost for each id, in order.';
CREATE FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) RETURNS TABLE(id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    AS …;
ALTER FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) IS 'Fails records with an array of {error, error_type?, context?, permanent?}; done, repeated or lost for each id.';
CREATE FUNCTION conveyor.next_due_at(p_flow_name text) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS …;
ALTER FUNCTION conveyor.next_due_at(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.next_due_at(p_flow_name text) IS 'When a claim in this session may next find a record of the flow; null: nothing is pending; infinity: paused.';
CREATE FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint DEFAULT 0) RETURNS TABLE(read_to bigint, read_after bigint, revision bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) IS 'Returns where reading a source goes on. Raises WQ005 when it was read by another definition.';
CREATE FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer DEFAULT 8) RETURNS TABLE(flow_name text, reason text, seat integer, door_closed boolean, confirmed boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer) IS 'Registers this session as a sleeper at these places, to be notified. Raises WQ003 behind a pooler.';
CREATE FUNCTION conveyor.pause_flow(p_flow_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.pause_flow(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.pause_flow(p_flow_name text) IS 'Stops claims of a flow until resume_flow; pausing again keeps the first time.';
CREATE FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean DEFAULT false, p_include_performance_analysis boolean DEFAULT false, p_thresholds jsonb DEFAULT '{}'::jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean, p_include_performance_analysis boolean, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean, p_include_performance_analysis boolean, p_thresholds jsonb) IS 'What is wrong with the queue and its server, the worst first, and which function mends it.';
CREATE FUNCTION conveyor.processing_performance(p_time_window_hours integer DEFAULT 24, p_include_error_analysis boolean DEFAULT false, p_thresholds jsonb DEFAULT '{}'::jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.processing_performance(p_time_window_hours integer, p_include_error_analysis boolean, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.processing_performance(p_time_window_hours integer, p_include_error_analysis boolean, p_thresholds jsonb) IS 'Throughput, success, wait and run times (average, p50, p95) in the last hours, of all and by flow; errors.';
CREATE FUNCTION conveyor.purge_records(p_flow_name text, p_older_than interval, p_limit integer DEFAULT 10000) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.purge_records(p_flow_name text, p_older_than interval, p_limit integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.purge_records(p_flow_name text, p_older_than interval, p_limit integer) IS 'Deletes up to p_limit records completed longer ago, but none that a source reads again; returns how many.';
CREATE FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean DEFAULT false, p_thresholds jsonb DEFAULT '{}'::jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean, p_thresholds jsonb) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean, p_thresholds jsonb) IS 'How the queue is (critical, degraded, healthy, idle), by which numbers, what is wrong, and what to call.';
CREATE FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) RETURNS TABLE(id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_nestloop TO 'off'
    SET enable_mergejoin TO 'off'
    AS …;
ALTER FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) IS 'Puts claimed records back to pending, uncharged; outcome done, repeated or lost for each id, in order.';
CREATE FUNCTION conveyor.requeue_records(p_ids bigint[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.requeue_records(p_ids bigint[]) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.requeue_records(p_ids bigint[]) IS 'Puts failed records back to pending with their counts zeroed; returns how many.';
CREATE FUNCTION conveyor.reset_failed_records(p_flow_name text, p_max_retries integer DEFAULT 3) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.reset_failed_records(p_flow_name text, p_max_retries integer) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.reset_failed_records(p_flow_name text, p_max_retries integer) IS 'Puts failed records with fewer than p_max_retries retries back to pending, counts kept; returns how many.';
CREATE FUNCTION conveyor.reset_source(p_source text, p_flow_name text, p_read_to bigint DEFAULT NULL::bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.reset_source(p_source text, p_flow_name text, p_read_to bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.reset_source(p_source text, p_flow_name text, p_read_to bigint) IS 'Moves the watermark of a source to where an operator wants it, and forgets how the source was read.';
CREATE FUNCTION conveyor.resume_flow(p_flow_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.resume_flow(p_flow_name text) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.resume_flow(p_flow_name text) IS 'Lets a paused flow be claimed again; a flow that is not paused stays as it is.';
CREATE FUNCTION conveyor.why_not_claimed(p_id bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS …;
ALTER FUNCTION conveyor.why_not_claimed(p_id bigint) OWNER TO conveyor_owner;
COMMENT ON FUNCTION conveyor.why_not_claimed(p_id bigint) IS 'Why a record is not being claimed, in one sentence. Raises WQ002.';
CREATE TABLE conveyor.attempt (
    attempt_id bigint NOT NULL,
    record_id bigint NOT NULL,
    claim_token bigint,
    outcome text NOT NULL,
    error text,
    error_type text,
    context jsonb,
    flow_instance_id text,
    claimed_at timestamp with time zone,
    ended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT attempt_outcome_valid CHECK ((outcome = ANY (ARRAY['failed'::text, 'released'::text, 'orphaned'::text, 'cancelled'::text])))
);
ALTER TABLE conveyor.attempt OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.attempt IS 'One row for each attempt that did not complete. No foreign key: truncate of the queue must stay possible.';
COMMENT ON COLUMN conveyor.attempt.claim_token IS 'With record_id, how a repeated answer is recognised; null for a record that was put into processing by hand.';
COMMENT ON COLUMN conveyor.attempt.context IS 'What the handler said beside the error.';
ALTER TABLE conveyor.attempt ALTER COLUMN attempt_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME conveyor.attempt_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE SEQUENCE conveyor.claim_token
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE conveyor.claim_token OWNER TO conveyor_owner;
COMMENT ON SEQUENCE conveyor.claim_token IS 'The growing part of claim tokens. Owned by no table, so that truncate … restart identity does not repeat them.';
CREATE TABLE conveyor.count_delta (
    flow_name text NOT NULL,
    pending bigint NOT NULL,
    processing bigint NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    wait_seconds double precision,
    run_seconds double precision,
    counted_at timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');
ALTER TABLE conveyor.count_delta OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.count_delta IS 'By how much a statement changed the counts of a flow; the counts are the sums. maintain() folds them.';
COMMENT ON COLUMN conveyor.count_delta.wait_seconds IS 'Time from due to claim, of the records that an update completed; null when rows only came or went.';
COMMENT ON COLUMN conveyor.count_delta.run_seconds IS 'Time from claim to answer, of the records that it completed.';
COMMENT ON COLUMN conveyor.count_delta.counted_at IS 'When; null for a sum, whose events are in flow_minute.';
CREATE TABLE conveyor.error_code (
    sqlstate text NOT NULL,
    name text NOT NULL,
    meaning text NOT NULL,
    client_action text NOT NULL,
    CONSTRAINT error_code_sqlstate_valid CHECK ((sqlstate ~ '^WQ[0-9]{3}$'::text))
);
ALTER TABLE conveyor.error_code OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.error_code IS 'Every SQLSTATE of class WQ: the registry that clients may rely on.';
CREATE TABLE conveyor.flow_minute (
    flow_name text NOT NULL,
    minute timestamp with time zone NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    wait_seconds double precision NOT NULL,
    run_seconds double precision NOT NULL
);
ALTER TABLE conveyor.flow_minute OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.flow_minute IS 'How many records of a flow were completed and failed in a minute, and how long they waited and ran in sum.';
CREATE TABLE conveyor.migration (
    name text NOT NULL,
    breaking boolean DEFAULT false NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE conveyor.migration OWNER TO conveyor_owner;
COMMENT ON TABLE conveyor.migration IS 'One row for each file of db/migrations that this database has run.';
COMMENT ON COLUMN conveyor.migration.breaking IS 'Clients that do not know this migration must refuse to work.';
ALTER TABLE conveyor.processing_queue ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME conveyor.processing_queue_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY conveyor.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY conveyor.attempt
    ADD CONSTRAINT attempt_record_token_key UNIQUE (record_id, claim_token);
ALTER TABLE ONLY conveyor.error_code
    ADD CONSTRAINT error_code_pkey PRIMARY KEY (sqlstate);
ALTER TABLE ONLY conveyor.flow_minute
    ADD CONSTRAINT flow_minute_pkey PRIMARY KEY (minute, flow_name);
ALTER TABLE ONLY conveyor.flow
    ADD CONSTRAINT flow_pkey PRIMARY KEY (flow_name);
ALTER TABLE ONLY conveyor.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (name);
ALTER TABLE ONLY conveyor.processing_queue
    ADD CONSTRAINT processing_queue_pkey PRIMARY KEY (id);
ALTER TABLE ONLY conveyor.source_watermark
    ADD CONSTRAINT source_watermark_pkey PRIMARY KEY (flow_name, source);
CREATE INDEX idx_processing_queue_completed ON conveyor.processing_queue USING btree (flow_name, completed_at) WHERE (status = 'completed'::text);
CREATE INDEX idx_processing_queue_crashed ON conveyor.processing_queue USING btree (updated_at) WHERE (failure_kind = 'crashed'::text);
CREATE UNIQUE INDEX idx_processing_queue_dedup_key ON conveyor.processing_queue USING btree (flow_name, dedup_key) WHERE (dedup_key IS NOT NULL);
CREATE INDEX idx_processing_queue_failed ON conveyor.processing_queue USING btree (flow_name, id) WHERE (status = 'failed'::text);
CREATE INDEX idx_processing_queue_pending ON conveyor.processing_queue USING btree (flow_name, ((- (priority)::integer)), COALESCE(run_at, created_at), id) WHERE (status = 'pending'::text);
CREATE INDEX idx_processing_queue_processing ON conveyor.processing_queue USING btree (lease_expires_at) WHERE (status = 'processing'::text);
CREATE TRIGGER count_deleted AFTER DELETE ON conveyor.processing_queue REFERENCING OLD TABLE AS old_row FOR EACH STATEMENT EXECUTE FUNCTION conveyor._count_deleted();
CREATE TRIGGER count_inserted AFTER INSERT ON conveyor.processing_queue REFERENCING NEW TABLE AS new_row FOR EACH STATEMENT EXECUTE FUNCTION conveyor._count_inserted();
CREATE TRIGGER count_truncated BEFORE TRUNCATE ON conveyor.processing_queue FOR EACH STATEMENT EXECUTE FUNCTION conveyor._count_truncated();
CREATE TRIGGER count_updated AFTER UPDATE ON conveyor.processing_queue REFERENCING OLD TABLE AS old_row NEW TABLE AS new_row FOR EACH STATEMENT EXECUTE FUNCTION conveyor._count_updated();
GRANT USAGE ON SCHEMA conveyor TO conveyor_producer;
GRANT USAGE ON SCHEMA conveyor TO conveyor_worker;
GRANT USAGE ON SCHEMA conveyor TO conveyor_viewer;
GRANT USAGE ON SCHEMA conveyor TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor._add_failures(p_source text, p_flow_name text, p_failures jsonb, p_priority smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._answer_outcomes(p_ids bigint[], p_tokens bigint[], p_done bigint[], p_done_tokens bigint[], p_outcome text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_answers(p_ids bigint[], p_tokens bigint[], p_name text, p_answers jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_dedup_keys(p_name text, p_keys text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_errors(p_errors jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_flow_name(p_flow_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_lease(p_lease interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_payloads(p_payloads jsonb, p_limit bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_schedule(p_priority smallint, p_run_at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_settings(p_settings jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._check_source_keys(p_source text, p_keys text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_deleted() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_differences() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_due(p_flow_name text, p_most integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_inserted() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_truncated() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._count_updated() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._cut(p_text text, p_most integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._jsonb_size(p_value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._cut_context(p_context jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._database_diagnostics(p_at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._error_analysis(p_since timestamp with time zone, p_most integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._find_issues(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._floor_setting(p_flow_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._flow_health(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._flow_issues(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._flow_metrics(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._flow_settings(p_flow_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._fold_counts() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._held_records(p_at timestamp with time zone, p_silent_for interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._horizon_holders() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._hourly_trends(p_since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._is_locked(p_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._is_taken(p_key bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._iso_time(p_time timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._lock_orphans(p_silent_for interval, p_flow_name text, p_limit integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._monitoring_thresholds(p_given jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._next_look(p_floor conveyor.scan_floor) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._oldest_due(p_flow_names text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._orphaned_analysis(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._performance(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._place_in_line(p_record conveyor.processing_queue) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_claim_lost(p_id bigint, p_token bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_floor(p_setting text, p_floor conveyor.scan_floor, p_token bigint, p_lease_end timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_invalid(p_argument text, p_value text, p_remedy text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_source_changed(p_mark conveyor.source_watermark, p_key_kind text, p_definition jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_source_moved(p_source text, p_flow_name text, p_revision bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_source_unknown(p_source text, p_flow_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._raise_too_large(p_argument text, p_size integer, p_limit bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._read_after(p_mark conveyor.source_watermark) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._read_floor(p_setting text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._retry_delay(p_delay interval, p_backoff numeric, p_retry_count integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._return_failed(p_ids bigint[], p_afresh boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._return_orphans(p_ids bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._ring(p_flow_names text[], p_reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._server_issues(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._session_name() FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._sit(p_flow_name text, p_reason text, p_held integer, p_closed boolean, p_size integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._throughput(p_since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._time_percentiles(p_since timestamp with time zone, p_until timestamp with time zone, p_most integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._to_bytes(p_value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._to_interval(p_value jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._wake_key(p_flow_name text, p_reason text, p_part integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor._window_start(p_at timestamp with time zone, p_thresholds jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.add_record(p_flow_name text, p_payload jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_key text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.add_records_to_queue(p_flow_name text, p_payloads jsonb, p_priority smallint, p_run_at timestamp with time zone, p_dedup_keys text[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.cancel_records(p_ids bigint[], p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.cancel_records(p_ids bigint[], p_reason text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.check_client(p_migrations text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.check_client(p_migrations text[]) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.check_client(p_migrations text[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.check_client(p_migrations text[]) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.check_client(p_migrations text[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.check_integrity(p_repair boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.check_integrity(p_repair boolean) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text, p_lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text, p_lease interval) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.claim_records_batch(p_flow_name text, p_batch_size integer, p_instance text, p_lease interval) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric, p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric, p_flow_name text) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.cleanup_orphaned_records(p_timeout_hours numeric, p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.configure_flow(p_flow_name text, p_settings jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.configure_flow(p_flow_name text, p_settings jsonb) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.extend_leases(p_ids bigint[], p_tokens bigint[], p_lease interval) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.forget_source(p_source text, p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.forget_source(p_source text, p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.get_queue_status(p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.get_queue_status(p_flow_name text) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.get_queue_status(p_flow_name text) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.get_queue_status(p_flow_name text) TO conveyor_operator;
GRANT ALL ON FUNCTION conveyor.get_queue_status(p_flow_name text) TO conveyor_viewer;
REVOKE ALL ON FUNCTION conveyor.get_record(p_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.get_record(p_id bigint) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.get_record(p_id bigint) TO conveyor_operator;
GRANT ALL ON FUNCTION conveyor.get_record(p_id bigint) TO conveyor_viewer;
REVOKE ALL ON FUNCTION conveyor.health_check() FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.health_check() TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.health_check() TO conveyor_operator;
GRANT ALL ON FUNCTION conveyor.health_check() TO conveyor_viewer;
REVOKE ALL ON FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb, p_priority smallint, p_is_last boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb, p_priority smallint, p_is_last boolean) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.ingest_page(p_source text, p_flow_name text, p_revision bigint, p_read_to bigint, p_payloads jsonb, p_dedup_keys text[], p_failures jsonb, p_priority smallint, p_is_last boolean) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer, p_size integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer, p_size integer) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.leave(p_flow_names text[], p_reasons text[], p_wakes integer[], p_batch integer, p_size integer) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.list_records(p_flow_name text, p_status text, p_after_id bigint, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.list_records(p_flow_name text, p_status text, p_after_id bigint, p_limit integer) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.list_records(p_flow_name text, p_status text, p_after_id bigint, p_limit integer) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) TO conveyor_operator;
GRANT ALL ON FUNCTION conveyor.list_sleepers(p_flow_name text, p_size integer) TO conveyor_viewer;
REVOKE ALL ON FUNCTION conveyor.list_sources(p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.list_sources(p_flow_name text) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.list_sources(p_flow_name text) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.list_sources(p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.maintain() FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.maintain() TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.maintain() TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.mark_record_completed(p_id bigint, p_result jsonb, p_token bigint) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text, p_context jsonb, p_permanent boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text, p_context jsonb, p_permanent boolean) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.mark_record_failed(p_id bigint, p_error text, p_token bigint, p_error_type text, p_context jsonb, p_permanent boolean) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.mark_records_completed(p_ids bigint[], p_results jsonb, p_tokens bigint[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.mark_records_failed(p_ids bigint[], p_errors jsonb, p_tokens bigint[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.next_due_at(p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.next_due_at(p_flow_name text) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.next_due_at(p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) TO conveyor_producer;
GRANT ALL ON FUNCTION conveyor.open_source(p_source text, p_flow_name text, p_key_kind text, p_definition jsonb, p_overlap bigint) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.park(p_flow_names text[], p_reasons text[], p_held integer[], p_closed boolean[], p_client_pid integer, p_size integer) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.pause_flow(p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.pause_flow(p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean, p_include_performance_analysis boolean, p_thresholds jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean, p_include_performance_analysis boolean, p_thresholds jsonb) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.processing_diagnostics(p_include_orphaned_analysis boolean, p_include_performance_analysis boolean, p_thresholds jsonb) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.processing_performance(p_time_window_hours integer, p_include_error_analysis boolean, p_thresholds jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.processing_performance(p_time_window_hours integer, p_include_error_analysis boolean, p_thresholds jsonb) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.processing_performance(p_time_window_hours integer, p_include_error_analysis boolean, p_thresholds jsonb) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.purge_records(p_flow_name text, p_older_than interval, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.purge_records(p_flow_name text, p_older_than interval, p_limit integer) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean, p_thresholds jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean, p_thresholds jsonb) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.queue_monitoring(p_include_detailed_metrics boolean, p_thresholds jsonb) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) TO conveyor_worker;
GRANT ALL ON FUNCTION conveyor.release_records(p_ids bigint[], p_tokens bigint[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.requeue_records(p_ids bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.requeue_records(p_ids bigint[]) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.reset_failed_records(p_flow_name text, p_max_retries integer) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.reset_failed_records(p_flow_name text, p_max_retries integer) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.reset_source(p_source text, p_flow_name text, p_read_to bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.reset_source(p_source text, p_flow_name text, p_read_to bigint) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.resume_flow(p_flow_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.resume_flow(p_flow_name text) TO conveyor_operator;
REVOKE ALL ON FUNCTION conveyor.why_not_claimed(p_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION conveyor.why_not_claimed(p_id bigint) TO conveyor_viewer;
GRANT ALL ON FUNCTION conveyor.why_not_claimed(p_id bigint) TO conveyor_operator;
