/**
 * Which mechanisms a connection is offered, and the exchange behind each. What it needs of the world
 * (accounts, app passwords, tokens, the throttle) is asked for here; the mechanisms themselves are
 * in scram.ts and hashed-tokens.ts.
 *
 * EXTERNAL is for servers (s2s/): no client of today logs in with a certificate.
 */
import { utf8Decode } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { sleep } from '../../../protocol/timers.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Credentials } from './credentials.ts'
import type { HashedTokens, IssuedToken, TokenUse } from './hashed-tokens.ts'
import type { LoginThrottle } from './login-throttle.ts'
import { encodeBase64, refused } from './sasl.ts'
import type { ChannelBindings, LoginAccount, Proven, SaslExchange, SaslFailure, SaslStep } from './sasl.ts'
import { ScramServer } from './scram.ts'
import type { ScramHash, ScramProof } from './scram.ts'

export interface AuthenticatorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly credentials: Credentials
  readonly tokens: HashedTokens
  readonly throttle: LoginThrottle
  /** By prepared local part. */
  readonly account: (local: string) => Promise<LoginAccount | undefined>
}

export interface AuthenticatorOptions {
  readonly domain: string
  /** PLAIN shows the password to the server; off unless an old client needs it. */
  readonly isPlainAllowed?: boolean
}

/** The connection that somebody logs in over. */
export interface LoginConnection {
  /** Without its port. */
  readonly address: string
  readonly isEncrypted: boolean
  readonly bindings: ChannelBindings
}

export interface LoginAttempt extends LoginConnection {
  readonly mechanism: string
  /** SASL2 with a token. */
  readonly token?: TokenUse
}

const scramHashes: readonly ScramHash[] = ['SHA-256', 'SHA-1']

/** What a step of a mechanism found out. */
type Finding = Found | SaslFailure
interface Found {
  readonly ok: true
  readonly account: LoginAccount
  readonly passwordId: string
  /** For the client, with the success. */
  readonly data?: Uint8Array
  readonly isTokenDue?: boolean
}

/** Whose login it is to be, which may be nobody's. */
interface Claimed {
  readonly ok: true
  readonly local: string
  readonly account: LoginAccount | undefined
}

export class Authenticator {
  readonly #components: AuthenticatorComponents
  readonly #options: AuthenticatorOptions

  constructor(components: AuthenticatorComponents, options: AuthenticatorOptions) {
    this.#components = components
    this.#options = options
  }

  /** Offered here, the one to be preferred first; none outside of TLS. */
  mechanisms({ isEncrypted, bindings }: LoginConnection): string[] {
    if (!isEncrypted) return []
    const plus = bindings.types.length === 0 ? [] : scramHashes.map((hash) => `SCRAM-${hash}-PLUS`)
    const plain = this.#options.isPlainAllowed === true ? ['PLAIN'] : []
    return [...plus, ...scramHashes.map((hash) => `SCRAM-${hash}`), ...plain]
  }

  tokenMechanisms({ isEncrypted, bindings }: LoginConnection): string[] {
    return isEncrypted ? this.#components.tokens.mechanisms(bindings) : []
  }

  /** Nothing is computed for an address that has guessed too often. */
  begin(attempt: LoginAttempt): SaslExchange | SaslFailure {
    const { mechanism, token } = attempt
    if (!attempt.isEncrypted) return refused('encryption-required')
    const waitMs = this.#components.throttle.waitMs(attempt.address)
    if (waitMs > 0) {
      const text = `too many wrong passwords from your address; try again in ${Math.ceil(waitMs / 1_000)} s`
      return refused('temporary-auth-failure', text)
    }
    if (token !== undefined) {
      return this.tokenMechanisms(attempt).includes(mechanism)
        ? { step: (data) => this.#token({ ...attempt, token }, data) }
        : refused('invalid-mechanism')
    }
    if (!this.mechanisms(attempt).includes(mechanism)) return refused('invalid-mechanism')
    return mechanism === 'PLAIN' ? { step: (data) => this.#plain(attempt, data) } : this.#scram(attempt)
  }

  /** For a client that logged in; `undefined`: no such mechanism here. */
  async issueToken(
    { account, passwordId }: Proven,
    { clientId, mechanism, connection }: {
      readonly clientId: string, readonly mechanism: string, readonly connection: LoginConnection
    },
  ): Promise<IssuedToken | undefined> {
    if (!this.tokenMechanisms(connection).includes(mechanism)) return undefined
    return this.#components.tokens.issue(account.id, { clientId, mechanism, passwordId })
  }

  // ── Mechanisms ────────────────────────────────────────────────────────────────────────────

  #scram(attempt: LoginAttempt): SaslExchange {
    const { mechanism, bindings } = attempt
    const hash = mechanism.startsWith('SCRAM-SHA-256') ? 'SHA-256' : 'SHA-1'
    const server = new ScramServer({
      hash, bindings, isPlus: mechanism.endsWith('-PLUS'), isPlusOffered: bindings.types.length > 0,
      serverNonce: encodeBase64(this.#components.random.bytes(18)),
    })
    let finish: ((proof: ScramProof) => Finding) | undefined
    let local = ''
    return {
      step: async (data) => {
        if (finish !== undefined) {
          const final = server.final(data)
          return this.#conclude({ attempt, local }, final.ok ? finish(final.proof) : final)
        }
        const first = server.first(data)
        if (!first.ok) return this.#conclude({ attempt, local }, first)
        const who = await this.#who({ attempt, username: first.username, authzid: first.authzid })
        if (!who.ok) return this.#conclude({ attempt, local: first.username }, who)
        const { account } = who
        local = who.local
        const { credentials } = this.#components
        const { salt, iterations, candidates } = await credentials.forLogin(hash, { local, account })
        finish = (proof) => {
          // Each is tried, so that the time tells nothing of which it was.
          const [found] = candidates.filter(({ keys }) => proof.matches(keys))
          if (account === undefined || found === undefined) return refused('not-authorized')
          return { ok: true, account, passwordId: found.passwordId, data: proof.serverFinal(found.keys) }
        }
        return { type: 'challenge', data: server.challenge({ salt, iterations }) }
      },
    }
  }

  /** RFC 4616: authzid NUL authcid NUL password. */
  async #plain(attempt: LoginAttempt, data: Uint8Array): Promise<SaslStep> {
    const parts = textOf(data)?.split('\0') ?? []
    const [authzid, username, password] = parts
    if (parts.length !== 3 || username === '' || password === '') {
      return this.#conclude({ attempt, local: '' }, refused('malformed-request'))
    }
    const who = await this.#who({ attempt, username: username!, authzid: authzid! })
    if (!who.ok) return this.#conclude({ attempt, local: username! }, who)
    const { local, account } = who
    const passwordId = await this.#components.credentials.check({ local, account }, password!)
    const finding = account === undefined || passwordId === undefined
      ? refused('not-authorized')
      : { ok: true, account, passwordId } as const
    return this.#conclude({ attempt, local }, finding)
  }

  async #token(attempt: LoginAttempt & { readonly token: TokenUse }, data: Uint8Array): Promise<SaslStep> {
    const end = data.indexOf(0)
    const username = textOf(data.subarray(0, Math.max(end, 0)))
    if (end < 1 || username === undefined || data.length - end - 1 !== 32) {
      return this.#conclude({ attempt, local: '' }, refused('malformed-request'))
    }
    const who = await this.#who({ attempt, username, authzid: '' })
    if (!who.ok) return this.#conclude({ attempt, local: username }, who)
    const { local, account } = who
    return this.#conclude({ attempt, local }, await this.#checkToken(account, attempt, data.slice(end + 1)))
  }

  async #checkToken(
    account: LoginAccount | undefined,
    { mechanism, bindings, token: use }: LoginAttempt & { readonly token: TokenUse },
    message: Uint8Array,
  ): Promise<Finding> {
    if (account === undefined) return refused('not-authorized')
    const { tokens, credentials } = this.#components
    const login = await tokens.login(account.id, { mechanism, message, bindings, use })
    if (!login.ok) return login
    const { passwordId, responder: data, isDue: isTokenDue } = login
    if (await credentials.exists(account.id, passwordId)) {
      return { ok: true, account, passwordId, data, isTokenDue }
    }
    return refused('credentials-expired', 'the app password behind this token was revoked')
  }

  /** Whose login it is; the account may not exist, and then nothing shows it. */
  async #who({ attempt, username, authzid }: {
    readonly attempt: LoginAttempt, readonly username: string, readonly authzid: string
  }): Promise<Claimed | SaslFailure> {
    const { domain } = this.#options
    const jid = username.length > xmppLimits.localpartCharactersMax || /[@/]/.test(username)
      ? undefined
      : Jid.parse(`${username}@${domain}`)
    if (authzid !== '' && (jid === undefined || Jid.parse(authzid)?.toString() !== jid.bare)) {
      return refused('invalid-authzid', 'you can log in as yourself alone')
    }
    const local = jid?.local ?? username
    const { clock, throttle } = this.#components
    const delayMs = throttle.delayMs({ address: attempt.address, account: local })
    if (delayMs > 0) await sleep(clock, delayMs)
    const account = jid === undefined ? undefined : await this.#components.account(jid.local)
    return { ok: true, local, account }
  }

  #conclude(
    { attempt, local }: { readonly attempt: LoginAttempt, readonly local: string },
    finding: Finding,
  ): SaslStep {
    const { throttle, credentials } = this.#components
    const { address, mechanism } = attempt
    if (!finding.ok) {
      // A token that ran out is no guess.
      if (finding.condition !== 'credentials-expired') throttle.failed({ address, account: local })
      return { type: 'failure', failure: finding }
    }
    const { account, passwordId, data, isTokenDue = false } = finding
    throttle.succeeded({ address, account: local })
    credentials.noteUse(account.id, passwordId)
    const proven = { account, passwordId, mechanism, isTokenDue }
    return { type: 'success', proven, ...data === undefined ? {} : { data } }
  }
}

function textOf(data: Uint8Array): string | undefined {
  try {
    return utf8Decode(data)
  } catch {
    return undefined
  }
}
