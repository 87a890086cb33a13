-- The built-in server (PS-29): it is listed and can be assigned to keys like any other, and nothing can change it.
INSERT INTO `servers` (
  `server_id`, `name`, `name_key`, `display_name`, `connection_type`, `server_url`, `enabled`, `auth_type`,
  `tool_mode`, `definition_policy`, `allow_on_all_virtual_keys`, `status`, `state`,
  `created`, `created_by`, `modified`, `modified_by`
) VALUES (
  'gateway', 'gateway', 'gateway', 'Postern', 'inprocess', '', 1, 'none',
  'all', 'trust', 1, 'active', 'connected',
  unixepoch() * 1000, 'postern', unixepoch() * 1000, 'postern'
);
