/**
 * The client's half of SCRAM, for tests: written from RFC 5802 alone, so that two readings of it meet.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

export interface ScramClientOptions {
  readonly hash: 'sha1' | 'sha256'
  readonly username: string
  readonly password: string
  readonly nonce?: string
  readonly authzid?: string
  /** `n`, `y`, or `p=TYPE`. */
  readonly flag?: string
  readonly binding?: Uint8Array
}

/** Salted passwords: a client keeps its own, too. */
const known = new Map<string, Buffer>()

export class ScramClient {
  readonly #options: ScramClientOptions
  readonly #gs2: string
  readonly #bare: string
  #expected = ''

  constructor(options: ScramClientOptions) {
    this.#options = options
    const { flag = 'n', authzid, username, nonce = 'clientNonceOfTheTest' } = options
    this.#gs2 = `${flag},${authzid === undefined ? '' : `a=${authzid}`},`
    this.#bare = `n=${username.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
  }

  first(): string {
    return this.#gs2 + this.#bare
  }

  final(serverFirst: string): string {
    const { hash, password, binding = new Uint8Array(0) } = this.#options
    const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst)!
    const length = hash === 'sha1' ? 20 : 32
    const key = [hash, password, salt, iterations].join()
    const salted = known.get(key)
      ?? pbkdf2Sync(password, Buffer.from(salt!, 'base64'), Number(iterations), length, hash)
    known.set(key, salted)
    const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest()
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash(hash).update(clientKey).digest()
    const input = Buffer.concat([Buffer.from(this.#gs2), binding]).toString('base64')
    const withoutProof = `c=${input},r=${nonce}`
    const authMessage = `${this.#bare},${serverFirst},${withoutProof}`
    const signature = hmac(storedKey, authMessage)
    const proof = clientKey.map((byte, i) => byte ^ signature[i]!)
    this.#expected = `v=${hmac(hmac(salted, 'Server Key'), authMessage).toString('base64')}`
    return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`
  }

  /** Whether the server knows the password, too. */
  accepts(serverFinal: string): boolean {
    return serverFinal === this.#expected
  }
}
