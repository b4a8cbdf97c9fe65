/** What a node with its hosted account and a linked device say of themselves alike (status.ts). */
import { readFile } from 'node:fs/promises'
import type { Client } from '../protocol/client/client.ts'
import type { Clock } from '../protocol/ports.ts'
import type { AccountStatus } from './status.ts'

export interface RunningProgram {
  readonly client: Client
  readonly clock: Clock
  readonly dataDir: string
  readonly startedAtMs: number
  readonly version: string
}

export async function accountStatus(running: RunningProgram): Promise<AccountStatus> {
  const { client, clock, dataDir, startedAtMs, version } = running
  const info = await client.info()
  return {
    version,
    pid: process.pid,
    startedAtMs,
    uptimeMs: clock.now() - startedAtMs,
    name: info.name,
    address: info.address,
    dataDir,
    online: info.online,
    standing: info.standing,
    isRenewing: info.isRenewing,
    queue: { out: info.outbox },
    replicas: info.replicas,
    alarms: info.alarms,
    refused: info.refused,
    contacts: (await client.contacts()).map((contact) => ({
      name: contact.name,
      address: contact.address,
      trust: contact.trust,
      ...(contact.alarm === undefined ? {} : { alarm: contact.alarm }),
      state: contact.state,
      ...(contact.lastSeenAtMs === undefined ? {} : { lastSeenAtMs: contact.lastSeenAtMs }),
    })),
  }
}

/** The same in a process of a household while another one hosts the account. */
export function absentAccountStatus(
  running: Omit<RunningProgram, 'client'>,
  { name, address }: { readonly name: string, readonly address: string },
): AccountStatus {
  const { clock, dataDir, startedAtMs, version } = running
  return {
    version,
    pid: process.pid,
    startedAtMs,
    uptimeMs: clock.now() - startedAtMs,
    name,
    address,
    dataDir,
    online: false,
    standing: 'good',
    isRenewing: false,
    queue: { out: 0 },
    replicas: { have: 0, want: 0 },
    alarms: [],
    refused: { resets: 0, asks: 0 },
    contacts: [],
  }
}

export async function packageVersion(): Promise<string> {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
