/**
 * Addresses of XMPP (RFC 7622): `local@domain/resource`. Ours are held to the PRECIS profiles; those of
 * others are compared after the same preparation where it succeeds, and taken as they are where an
 * older server (RFC 3920, stringprep) allows more than we do.
 */
export class Jid {
  /** Empty: none. */
  readonly local: string
  readonly domain: string
  /** Empty: none. */
  readonly resource: string

  /** Takes parts that were prepared already; `Jid.parse` prepares. */
  constructor(local: string, domain: string, resource = '') {
    this.local = local
    this.domain = domain
    this.resource = resource
  }

  get isBare(): boolean {
    return this.resource === ''
  }

  /** `local@domain`, or `domain`. */
  get bare(): string {
    return this.local === '' ? this.domain : `${this.local}@${this.domain}`
  }

  toBare(): Jid {
    return this.resource === '' ? this : new Jid(this.local, this.domain)
  }

  withResource(resource: string): Jid {
    return new Jid(this.local, this.domain, resource)
  }

  equals(other: Jid): boolean {
    return this.local === other.local && this.domain === other.domain && this.resource === other.resource
  }

  toString(): string {
    return this.resource === '' ? this.bare : `${this.bare}/${this.resource}`
  }

  /** `undefined`: malformed. Each part has 1 to 1,023 bytes of UTF-8. */
  static parse(text: string): Jid | undefined {
    const slash = text.indexOf('/')
    const bare = slash === -1 ? text : text.slice(0, slash)
    const resource = slash === -1 ? '' : text.slice(slash + 1)
    if (slash !== -1 && resource === '') return undefined
    const at = bare.indexOf('@')
    const local = at === -1 ? '' : bare.slice(0, at).toLowerCase()
    const domain = (at === -1 ? bare : bare.slice(at + 1)).toLowerCase().replace(/\.$/, '')
    if (at === 0 || domain === '') return undefined
    return new Jid(local, domain, resource)
  }
}
