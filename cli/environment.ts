/** The variables a command runs with: passed on, never read behind its back. */
export type Environment = Readonly<Record<string, string | undefined>>
