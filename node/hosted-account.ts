/**
 * An account hosted on this node: an ordinary Client SDK whose device logs in over the loopback
 * connector, with its records sealed in the node's own store (DESIGN §2, hub mode). The rest of
 * the node cannot tell it from a phone.
 */
import type { Random } from '../crypto/random.ts'
import { createAccount, readAccount } from '../protocol/client/account-state.ts'
import { Client } from '../protocol/client/client.ts'
import { scopedKv, sealedKv } from '../protocol/client/kv.ts'
import type { InviteHint } from '../protocol/invite.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { DeviceSession } from '../protocol/session/device-session.ts'
import type { LoopbackConnector } from './connectors/loopback-connector.ts'
import type { Log } from './ports.ts'

export interface HostedAccountComponents {
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
  /** 32 bytes; seals everything the account keeps. */
  readonly dataKey: Uint8Array
  /** 32 bytes behind the recovery phrase; used when the account is made. */
  readonly entropy: Uint8Array
  /** Where strangers with an invite may dial first. */
  readonly hint: () => InviteHint | undefined
}

/** Reads the account, or makes it on the first start, and gives its client, not yet started. */
export async function openHostedAccount(
  components: HostedAccountComponents,
  options: HostedAccountOptions,
): Promise<Client> {
  const { clock, random, log, loopback } = components
  const kv = scopedKv(sealedKv({ kv: components.kv, key: options.dataKey, random }), 'client/')
  const account = await readAccount(kv) ??
    await createAccount({ kv, clock, random, name: options.name, entropy: options.entropy })
  await components.register(account.address, account.linkKeys.publicKey)
  const dialer = loopback.dialer(account.linkKeys.publicKey)
  return Client.open({
    kv, clock, random, log,
    connect: (listener) => new DeviceSession({ dialer, clock, random }, listener),
  }, { hint: options.hint })
}
