/**
 * What a campaign is: a test too long for every day, with a budget given on the command line. It
 * lives in `test/campaigns/NAME.ts`, exports `campaign`, and runs by `npm run campaign -- NAME`.
 *
 * A failure that a campaign finds becomes a named test before it is fixed.
 */

export interface Campaign {
  /** One line for the list of names. */
  readonly about: string
  /** Options it takes, with their defaults: `--seeds 20`. */
  readonly options: Readonly<Record<string, string | number>>
  run(context: CampaignContext): Promise<void>
}

export interface CampaignContext {
  /** A number given as `--name value`, or its default. */
  number(name: string): number
  text(name: string): string
  /** Progress for people. */
  say(line: string): void
  /** Counts one thing that was shown. */
  passed(): void
  /** Counts one thing that was refuted, with all that is needed to see it again (the seed). */
  failed(what: string): void
}
