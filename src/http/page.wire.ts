import * as z from "zod";

/** Query of a list that is paged and nothing else (RG-3): unreadable values count as absent, so nothing here refuses. */
export const PageQuery = z.object({ page: z.string().optional(), page_size: z.string().optional() });
export type PageQuery = z.infer<typeof PageQuery>;
