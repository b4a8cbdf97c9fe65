/**
 * Invites that make an account (XEP-0401 0.5.0): a token that opens registration once. Of a token its
 * hash alone is kept.
 *
 * ```text
 *   register-invite/HASH    until when, and the address that it is for, if it names one
 *   xmpp:DOMAIN?register;preauth=TOKEN
 * ```
 */
import { createHash } from 'node:crypto'
import type { Random } from '../../../crypto/random.ts'
import { OpenIMError } from '../../../crypto/errors.ts'
import { decode, encode, optional, struct, text, u64 } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Command } from './xep-0050-commands.ts'

const prefix = 'register-invite/'

export interface InviteRecord {
  readonly untilMs: number
  /** The only local part that it makes; `undefined`: any. */
  readonly local: string | undefined
}
const inviteCodec = struct<InviteRecord>({ untilMs: u64, local: optional(text(256)) })

export interface MadeInvite {
  readonly uri: string
  readonly expiresAtMs: number
}

export interface InvitesComponents {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
}

export class Invites {
  readonly #components: InvitesComponents
  readonly #domain: string

  constructor(components: InvitesComponents, { domain }: { domain: string }) {
    this.#components = components
    this.#domain = domain
  }

  /** @throws XMPP_LOCALPART, XMPP_INVITES_TOO_MANY */
  async create(name?: string): Promise<MadeInvite> {
    const { kv, clock, random } = this.#components
    const jid = name === undefined ? undefined : Jid.parseStrict(`${name}@${this.#domain}`)
    if (name !== undefined && (jid === undefined || jid.local === '')) {
      throw new OpenIMError('XMPP_LOCALPART', `"${name}" cannot stand before the @ of an address`)
    }
    let open = 0
    for await (const { key, value } of kvEntries(kv, prefix)) {
      if (decode(inviteCodec, value).untilMs > clock.now()) open++
      else await kv.write([{ type: 'delete', key }])
    }
    const most = xmppLimits.invitesMax
    if (open >= most) {
      throw new OpenIMError('XMPP_INVITES_TOO_MANY', `${most} invites are open; wait until some are used`)
    }
    const token = Buffer.from(random.bytes(24)).toString('base64url')
    const expiresAtMs = clock.now() + xmppLimits.inviteMs
    const value = encode(inviteCodec, { untilMs: expiresAtMs, local: jid?.local })
    await kv.write([{ type: 'put', key: keyOf(token), value }])
    const at = jid === undefined ? this.#domain : jid.bare
    return { uri: `xmpp:${at}?register;preauth=${token}`, expiresAtMs }
  }

  /** `undefined`: there is none, or it is over. */
  async find(token: string): Promise<InviteRecord | undefined> {
    const entry = await this.#components.kv.get(keyOf(token))
    const record = entry === undefined ? undefined : decode(inviteCodec, entry.value)
    return record !== undefined && record.untilMs > this.#components.clock.now() ? record : undefined
  }

  /** Whether it was still there: of two who use it, one is told so. */
  async use(token: string): Promise<boolean> {
    const { kv } = this.#components
    const entry = await kv.get(keyOf(token))
    if (entry === undefined) return false
    return await kv.write([
      { type: 'check', key: entry.key, version: entry.version }, { type: 'delete', key: entry.key },
    ])
  }
}

/** The command that makes one, for the owner. */
export function inviteCommand(invites: Invites, owner: () => string): Command {
  return {
    node: 'urn:xmpp:invite#create-account', formType: 'urn:xmpp:invite#create-account',
    title: 'Invite somebody to an address here',
    fields: [{ name: 'username', type: 'text-single', label: 'Before the @; empty: they choose' }],
    isFor: ({ jid }) => jid.bare === owner(),
    async run(_account, values) {
      const { uri, expiresAtMs } = await invites.create(values.get('username')?.[0])
      return {
        fields: [
          { name: 'uri', label: 'Invite', values: [uri] },
          { name: 'expire', label: 'Good until', values: [new Date(expiresAtMs).toISOString()] },
        ],
      }
    },
  }
}

function keyOf(token: string): string {
  return prefix + createHash('sha256').update(token).digest('hex')
}
