/**
 * The certificate that doors show, from two PEM files. They are looked at again every minute, so
 * that a renewal is taken up without a restart; a pair that does not load is reported, and the one
 * before stays.
 */
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Random } from '../../crypto/random.ts'
import type { Clock } from '../../protocol/ports.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { Log } from '../ports.ts'

export interface TlsComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface TlsPaths {
  readonly cert: string
  readonly key: string
  /** Of the settings, for errors: `tls` when left out. */
  readonly table?: string
  /** Looks at a certificate (PEM, with its chain) before it is used. @throws CONFIG_TLS */
  readonly check?: (pem: string) => void
}

export class TlsFiles {
  readonly #paths: TlsPaths
  readonly #log: Log
  readonly #repeater: Repeater
  #pem: string
  #context: SecureContext

  /** @throws CONFIG_TLS when the files cannot be read, do not belong together, or are refused */
  static async open(components: TlsComponents, paths: TlsPaths): Promise<TlsFiles> {
    return new TlsFiles(components, paths, await load(paths))
  }

  private constructor(components: TlsComponents, paths: TlsPaths, loaded: Loaded) {
    this.#paths = paths
    this.#log = components.log
    this.#pem = loaded.pem
    this.#context = loaded.context
    this.#repeater = new Repeater(components, () => this.reload(), {
      everyMs: limits.tlsReloadMs,
      onError: (error) => this.#log.warn({ err: error }, 'the certificate files could not be looked at'),
    })
  }

  start(): void {
    this.#repeater.start()
  }

  stop(): Promise<void> {
    return this.#repeater.stop()
  }

  get context(): SecureContext {
    return this.#context
  }

  /** Takes up files that changed. */
  async reload(): Promise<void> {
    try {
      const { pem, context } = await load(this.#paths)
      if (pem === this.#pem) return
      this.#pem = pem
      this.#context = context
      this.#log.info({ cert: this.#paths.cert }, 'a new certificate is in use')
    } catch (error) {
      this.#log.warn({ err: error }, 'the certificate files changed and cannot be used; the old one stays')
    }
  }
}

interface Loaded {
  /** The certificate alone: it tells whether something changed, and is no secret. */
  readonly pem: string
  readonly context: SecureContext
}

async function load({ cert, key, table = 'tls', check }: TlsPaths): Promise<Loaded> {
  const [pem, secret] = await Promise.all([read(cert, `${table}.cert`), read(key, `${table}.key`)])
  const context = contextOf({ cert, key, table }, { pem, secret })
  check?.(pem)
  return { pem, context }
}

function contextOf(
  { cert, key, table }: TlsPaths, { pem, secret }: { readonly pem: string, readonly secret: string },
): SecureContext {
  try {
    return createSecureContext({ cert: pem, key: secret, minVersion: 'TLSv1.2' })
  } catch {
    // OpenSSL's message may quote the key file.
    throw new OpenIMError(
      'CONFIG_TLS', `${table}: ${cert} and ${key} are not a certificate and its key in PEM form`,
    )
  }
}

async function read(path: string, setting: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const code = errorCode(cause) ?? 'unknown reason'
    throw new OpenIMError('CONFIG_TLS', `${setting}: cannot read ${path} (${code})`, { cause })
  }
}
