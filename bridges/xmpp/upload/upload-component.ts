/**
 * HTTP File Upload (XEP-0363 1.1) as a service of its own, `upload.example.org`, for accounts of this
 * domain: it gives slots; the files go over HTTP (`upload-route.ts`).
 */
import { hex } from '../../../crypto/bytes.ts'
import { safeFileName } from '../../../protocol/file-name.ts'
import { Repeater } from '../../../protocol/timers.ts'
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Component } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { uploadPrefix } from './upload-route.ts'
import { uploadNs } from './upload-store.ts'
import type { UploadStore } from './upload-store.ts'

const mediaTypeForm = /^[\w.+-]{1,63}\/[\w.+-]{1,63}$/

export interface UploadComponentOptions {
  readonly domain: string
  /** As clients outside reach the web door: `https://example.org:5443`. */
  readonly origin: () => string
}

export class UploadComponent implements Component {
  readonly domain: string
  readonly #host: XmppHost
  readonly #store: UploadStore
  readonly #options: UploadComponentOptions
  readonly #expiry: Repeater

  constructor(host: XmppHost, store: UploadStore, options: UploadComponentOptions) {
    this.domain = options.domain
    this.#host = host
    this.#store = store
    this.#options = options
    const { clock, random, failed } = host.context
    this.#expiry = new Repeater({ clock, random }, async () => { await store.expire() }, {
      everyMs: xmppLimits.uploadExpiryEveryMs, onError: failed('old uploads were not removed'),
    })
  }

  async start(): Promise<void> {
    await this.#store.load()
    this.#expiry.start()
  }

  async stop(): Promise<void> {
    await this.#expiry.stop()
  }

  async receive(stanza: XmlElement): Promise<void> {
    const { type, id, from = '', to = '' } = stanza.attrs
    if (stanza.name === 'presence') return
    if (stanza.name === 'message') throw new StanzaError('service-unavailable')
    if (type !== 'get' && type !== 'set') return
    const [payload] = stanza.elements()
    const sender = Jid.parse(from)
    if (payload === undefined || sender === undefined) throw new StanzaError('bad-request')
    if (Jid.parse(to)?.local !== '') throw new StanzaError('item-not-found')
    const answer = type === 'get' ? await this.#answer(sender, payload) : undefined
    if (answer === undefined) throw new StanzaError('service-unavailable')
    await this.#host.context.route(el(ns.client, 'iq', { type: 'result', id, from: to, to: from }, answer))
  }

  async #answer(from: Jid, payload: XmlElement): Promise<XmlElement | undefined> {
    if (payload.is('query', ns.discoItems)) return el(ns.discoItems, 'query')
    if (payload.is('query', ns.discoInfo)) return this.#info()
    if (!payload.is('request', uploadNs)) return undefined
    const account = await this.#host.context.account(from)
    if (account === undefined) throw new StanzaError('forbidden', 'uploads are for accounts of this domain')
    return await this.#slot(account, payload)
  }

  async #slot(account: Account, { attrs }: XmlElement): Promise<XmlElement> {
    const { filename = '', size = '', 'content-type': given = '' } = attrs
    if (filename === '' || !/^\d{1,15}$/.test(size) || Number(size) === 0) {
      throw new StanzaError('bad-request', 'name a file and its size in bytes')
    }
    const mediaType = mediaTypeForm.test(given) ? given.toLowerCase() : 'application/octet-stream'
    const name = safeFileName(filename)
    const { upload, token } = await this.#store.slot({
      account: account.id, name, mediaType, size: Number(size),
    })
    const url = `${this.#options.origin()}${uploadPrefix}${upload.id}/${encodeURIComponent(name)}`
    return el(uploadNs, 'slot', {},
      el(uploadNs, 'put', { url },
        el(uploadNs, 'header', { name: 'Authorization' }, `Bearer ${hex(token)}`)),
      el(uploadNs, 'get', { url }))
  }

  #info(): XmlElement {
    const field = (name: string, value: string, type?: string): XmlElement =>
      el(ns.dataForm, 'field', { var: name, type }, el(ns.dataForm, 'value', {}, value))
    return el(ns.discoInfo, 'query', {},
      el(ns.discoInfo, 'identity', { category: 'store', type: 'file', name: 'HTTP File Upload' }),
      ...[ns.discoInfo, ns.discoItems, uploadNs].map(
        (feature) => el(ns.discoInfo, 'feature', { var: feature }),
      ),
      el(ns.dataForm, 'x', { type: 'result' },
        field('FORM_TYPE', uploadNs, 'hidden'),
        field('max-file-size', String(this.#store.limits.fileBytesMax))))
  }
}
