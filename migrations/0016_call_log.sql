CREATE TABLE `call_sums` (
	`org_id` text NOT NULL,
	`kind` text NOT NULL,
	`span` text NOT NULL,
	`start` integer NOT NULL,
	`server_id` text NOT NULL,
	`tool` text NOT NULL,
	`virtual_key_id` text NOT NULL,
	`sub` text NOT NULL,
	`outcome` text NOT NULL,
	`server` text,
	`calls` integer NOT NULL,
	`cost_nano` integer NOT NULL,
	`duration_ms` integer NOT NULL,
	`latencies` text NOT NULL,
	PRIMARY KEY(`org_id`, `kind`, `span`, `start`, `server_id`, `tool`, `virtual_key_id`, `sub`, `outcome`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `call_sums_by_tool` ON `call_sums` (`org_id`,`kind`,`span`,`start`,`tool`) WHERE tool <> '';--> statement-breakpoint
CREATE INDEX `call_sums_by_key` ON `call_sums` (`org_id`,`kind`,`span`,`start`,`virtual_key_id`,`tool`) WHERE virtual_key_id <> '';--> statement-breakpoint
CREATE INDEX `call_sums_by_user` ON `call_sums` (`org_id`,`kind`,`span`,`start`,`sub`,`tool`) WHERE sub <> '';--> statement-breakpoint
DROP INDEX `tool_calls_by_tool`;--> statement-breakpoint
ALTER TABLE `tool_calls` ADD `exposed_name` text;--> statement-breakpoint
ALTER TABLE `tool_calls` ADD `parent_run_id` text;--> statement-breakpoint
ALTER TABLE `tool_calls` ADD `outcome` text DEFAULT 'upstream_failed' NOT NULL;--> statement-breakpoint
CREATE INDEX `tool_calls_by_age` ON `tool_calls` (`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `tool_calls_by_server` ON `tool_calls` (`org_id`,`server_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `tool_calls_by_user` ON `tool_calls` (`org_id`,`sub`,`created_at`,`id`) WHERE sub IS NOT NULL;--> statement-breakpoint
CREATE INDEX `tool_calls_by_key` ON `tool_calls` (`org_id`,`virtual_key_id`,`created_at`,`id`) WHERE virtual_key_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX `tool_calls_by_session` ON `tool_calls` (`org_id`,`session_id`,`created_at`,`id`) WHERE session_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX `tool_calls_by_run` ON `tool_calls` (`org_id`,`run_id`,`created_at`,`id`) WHERE run_id IS NOT NULL;--> statement-breakpoint
CREATE INDEX `tool_calls_failed` ON `tool_calls` (`org_id`,`created_at`,`id`) WHERE ok = 0;--> statement-breakpoint
CREATE INDEX `tool_calls_by_duration` ON `tool_calls` (`org_id`,`duration_ms`,`id`);--> statement-breakpoint
CREATE INDEX `tool_calls_by_cost` ON `tool_calls` (`org_id`,`cost_nano`,`id`);--> statement-breakpoint
CREATE INDEX `tool_calls_by_tool` ON `tool_calls` (`org_id`,`tool`,`created_at`,`id`);--> statement-breakpoint
ALTER TABLE `orgs` ADD `call_retention_days` integer;--> statement-breakpoint
UPDATE `tool_calls` SET `outcome` = CASE WHEN ok THEN 'ok' WHEN reason IS NOT NULL THEN 'refused'
	WHEN error = 'tool returned an error' THEN 'tool_error'
	WHEN error = 'the server answered with an error' THEN 'server_error' ELSE 'upstream_failed' END;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'org', 'hour', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 3600000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'org', 'day', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 86400000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'org', 'block', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 1382400000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'tool', 'hour', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 3600000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'tool', 'day', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 86400000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'tool', 'block', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 1382400000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			'' AS virtual_key_id, '' AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'key', 'hour', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 3600000 AS start, '' AS server_id, '' AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'key', 'day', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 86400000 AS start, '' AS server_id, '' AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'key', 'block', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 1382400000 AS start, '' AS server_id, '' AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, '' AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'user', 'hour', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 3600000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'user', 'day', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 86400000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'user', 'block', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 1382400000 AS start, '' AS server_id, '' AS tool,
			'' AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, NULL AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'all', 'hour', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 3600000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'all', 'day', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 86400000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;--> statement-breakpoint
INSERT INTO `call_sums` (org_id, kind, span, start, server_id, tool, virtual_key_id, sub, outcome, server, calls, cost_nano, duration_ms, latencies)
	SELECT org_id, 'all', 'block', start, server_id, tool, virtual_key_id, sub, outcome, max(server), SUM(calls), SUM(cost_nano), SUM(duration_ms), json_group_object(bucket, calls)
	FROM (
		SELECT org_id, created_at - created_at % 1382400000 AS start, COALESCE(server_id, '') AS server_id, tool AS tool,
			COALESCE(virtual_key_id, '') AS virtual_key_id, COALESCE(sub, '') AS sub, outcome, max(server) AS server,
			CAST(log2(max(duration_ms, 0) + 1) * 8 AS INTEGER) AS bucket, COUNT(*) AS calls, SUM(cost_nano) AS cost_nano, SUM(duration_ms) AS duration_ms
		FROM tool_calls GROUP BY 1, 2, 3, 4, 5, 6, 7, bucket
	) GROUP BY 1, 4, 5, 6, 7, 8, 9;
