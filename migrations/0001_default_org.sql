-- Generations exist before anything raises them: `*` stands for the registry, every org has its own.
INSERT INTO `generations` (`org_id`, `value`) VALUES ('*', 0), ('default', 0);
--> statement-breakpoint
INSERT INTO `orgs` (`org_id`, `name`, `created`) VALUES ('default', 'Default', 0);
