/**
 * Runs one campaign (campaign.ts):
 *
 * ```text
 *   npm run campaign                           the names, with their options and defaults
 *   npm run campaign -- NAME [--option value]…
 * ```
 *
 * The last line is `N passed, N failed`; exit code 1 when anything failed or nothing was shown.
 */
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Campaign } from './campaign.ts'

const notCampaigns = ['run', 'campaign']
const names = globSync('*.ts', { cwd: import.meta.dirname })
  .map((file) => basename(file, '.ts'))
  .filter((name) => !notCampaigns.includes(name))
  .sort()

const [name, ...args] = process.argv.slice(2)
if (name === undefined) {
  for (const one of names) say(`${one}  ${describe(await load(one))}`)
} else if (!names.includes(name)) {
  refuse(`no campaign is called ${name}; the names are: ${names.join(', ')}`)
} else {
  const campaign = await load(name)
  const values = parse(campaign, args)
  if (values !== undefined) await run(campaign, values)
}
process.exit()

async function load(campaignName: string): Promise<Campaign> {
  const module = await import(join(import.meta.dirname, `${campaignName}.ts`)) as { campaign: Campaign }
  return module.campaign
}

function describe({ about, options }: Campaign): string {
  const defaults = Object.entries(options).map(([option, value]) => `--${option} ${value}`)
  return [about, ...defaults].join('  ')
}

/** Undefined after a refusal. */
function parse(campaign: Campaign, words: readonly string[]): Map<string, string> | undefined {
  const values = new Map(Object.entries(campaign.options).map(([option, value]) => [option, String(value)]))
  for (let i = 0; i < words.length; i += 2) {
    const option = words[i]!.replace(/^--/, '')
    const value = words[i + 1]
    if (!values.has(option) || value === undefined) {
      refuse(`${words[i]} is no option with a value; this campaign is: ${describe(campaign)}`)
      return undefined
    }
    values.set(option, value)
  }
  return values
}

async function run(campaign: Campaign, values: ReadonlyMap<string, string>): Promise<void> {
  let passed = 0
  const failures: string[] = []
  const failed = (what: string): void => {
    failures.push(what)
    say(`FAIL ${what}`)
  }
  try {
    await campaign.run({
      number: (option) => Number(values.get(option)),
      text: (option) => values.get(option) ?? '',
      say,
      passed: () => { passed++ },
      failed,
    })
  } catch (error) {
    failed(error instanceof Error ? error.stack ?? error.message : String(error))
  }
  if (failures.length > 0) say(['', 'failures:', ...failures].join('\n'))
  say(`${passed} passed, ${failures.length} failed`)
  process.exitCode = failures.length > 0 || passed === 0 ? 1 : 0
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function refuse(message: string): void {
  process.stderr.write(`${message}\n`)
  process.exitCode = 2
}
