/**
 * An account hosted on this node: an ordinary Client SDK whose device logs in over the loopback
 * connector, with its records in its corner of the node's store (DESIGN §2, hub mode). The rest of
 * the node cannot tell it from a phone.
 */
import type { Random } from '../crypto/random.ts'
import { createAccount, readAccount } from '../protocol/client/account-state.ts'
import { Client } from '../protocol/client/client.ts'
import type { FileOpener } from '../protocol/client/api.ts'
import { standingProblem } from '../protocol/client/standing.ts'
import type { NodeDoors } from '../protocol/client/linking.ts'
import type { InviteHint } from '../protocol/invite.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { DeviceSession } from '../protocol/session/device-session.ts'
import type { LoopbackConnector } from './connectors/loopback-connector.ts'
import type { Log } from './ports.ts'

export interface HostedAccountComponents {
  /** Its corner of the store, sealed (node-store.ts). */
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly loopback: LoopbackConnector
  /** Lets the device log in at this node. */
  readonly register: (address: string, deviceKey: Uint8Array) => Promise<void>
}

export interface HostedAccountOptions {
  readonly name: string
  /** 32 bytes behind the recovery phrase; used when the account is made. */
  readonly entropy: Uint8Array
  /** Where strangers with an invite may dial first. */
  readonly hint: () => InviteHint | undefined
  /** Where new devices of the account reach this node. */
  readonly doors?: () => NodeDoors
  /** How its transfers of files find their files after a restart. */
  readonly files?: FileOpener
}

/**
 * Reads the account, or makes it on the first start, and gives its client, not yet started.
 * @throws ACCOUNT_RETIRED, ACCOUNT_CORRUPT, STORE_*
 */
export async function openHostedAccount(
  components: HostedAccountComponents,
  options: HostedAccountOptions,
): Promise<Client> {
  const { kv, clock, random, log, loopback } = components
  const account = await readAccount(kv) ??
    await createAccount({ kv, clock, random, name: options.name, entropy: options.entropy })
  await components.register(account.address, account.linkKeys.publicKey)
  const dialer = loopback.dialer(account.linkKeys.publicKey)
  const client = await Client.open({
    kv, clock, random, log,
    connect: (listener) => new DeviceSession({ dialer, clock, random }, listener),
  }, options)
  const problem = standingProblem((await client.info()).standing)
  if (problem?.code === 'ACCOUNT_RETIRED') throw problem
  return client
}
