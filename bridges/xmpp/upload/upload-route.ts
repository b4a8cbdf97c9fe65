/**
 * Uploads over HTTP, behind the web door: `PUT` with the token of a slot, `GET` and `HEAD` by whoever
 * has the address. What strangers uploaded is never shown as a page of ours: only pictures, sound and
 * films are, everything else is a download, and nothing of it may run.
 *
 * ```text
 *   /upload/ID/NAME     ID as in upload-store.ts; NAME is what a download is called, and is not looked at
 * ```
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { hexDecode } from '../../../crypto/bytes.ts'
import type { Log } from '../../../node/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { WebRoute } from '../stream/web-door.ts'
import type { Upload, UploadStore } from './upload-store.ts'

export const uploadPrefix = '/upload/'
const pathForm = /^\/upload\/([0-9a-f]{32})\/[^/]+$/
const bearerForm = /^Bearer ([0-9a-f]{64})$/

/** Browsers show these inside of a page; SVG can run scripts and is not among them. */
const shownTypes = /^(?:image\/(?:png|jpeg|gif|webp|avif|heic)|audio\/[\w.+-]+|video\/[\w.+-]+)$/

/** Pages of any origin may put and get: what protects a file is its address. */
const everyAnswer = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, PUT, OPTIONS',
  'access-control-allow-headers': 'Authorization, Content-Type',
  'access-control-max-age': '7200',
  'x-content-type-options': 'nosniff',
  'content-security-policy': `default-src 'none'; frame-ancestors 'none'; sandbox`,
  'cross-origin-resource-policy': 'cross-origin',
}

export class UploadRoute implements WebRoute {
  readonly prefix = uploadPrefix
  readonly #store: UploadStore
  readonly #log: Log

  constructor(store: UploadStore, { log }: { log: Log }) {
    this.#store = store
    this.#log = log
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#handle(request, response).catch((err: unknown) => {
      // The client went away, or the disk failed: which of them is in the error.
      this.#log.warn({ err }, 'an upload or download ended early')
      if (response.headersSent) response.destroy()
      else end(response, 500)
    })
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const id = pathForm.exec(pathname)?.[1]
    if (request.method === 'OPTIONS') end(response, 204)
    else if (id === undefined) end(response, 404)
    else if (request.method === 'PUT') await this.#put(id, request, response)
    else if (request.method === 'GET' || request.method === 'HEAD') await this.#get(id, request, response)
    else end(response, 405, { allow: 'GET, HEAD, PUT, OPTIONS' })
  }

  async #put(id: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = bearerForm.exec(request.headers.authorization ?? '')?.[1]
    const upload = token === undefined ? undefined : this.#store.open(id, hexDecode(token))
    if (upload === undefined) return refuse(response, 403)
    if (request.headers['content-length'] !== String(upload.size)) return refuse(response, 413)
    const { own, all } = this.#store.coming(upload.account)
    if (own >= xmppLimits.uploadsPerAccountMax || all >= xmppLimits.uploadsMax) {
      return refuse(response, 503, { 'retry-after': '10' })
    }
    if (await this.#store.put(upload, request)) end(response, 201)
    else refuse(response, 400)
  }

  async #get(id: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const upload = await this.#store.find(id)
    if (upload === undefined) return end(response, 404)
    const etag = `"${id}"`
    if (request.headers['if-none-match'] === etag) return end(response, 304)
    const range = rangeOf(request.headers.range, upload.size)
    if (range === 'none') return end(response, 416, { 'content-range': `bytes */${upload.size}` })
    const part = range ?? { start: 0, end: upload.size - 1 }
    response.writeHead(range === undefined ? 200 : 206, {
      ...everyAnswer,
      ...contentHeaders(upload),
      ...range === undefined ? {} : { 'content-range': `bytes ${part.start}-${part.end}/${upload.size}` },
      'content-length': part.end - part.start + 1,
      'accept-ranges': 'bytes',
      'cache-control': 'private, max-age=604800, immutable',
      etag,
    })
    if (request.method === 'HEAD' || upload.size === 0) response.end()
    else await pipeline(this.#store.read(upload, part), response)
  }
}

function contentHeaders({ mediaType, name }: Upload): Record<string, string> {
  const isShown = shownTypes.test(mediaType)
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (one) => `%${one.charCodeAt(0).toString(16)}`)
  return {
    'content-type': isShown ? mediaType : 'application/octet-stream',
    // RFC 6266 §4.3.
    'content-disposition': `${isShown ? 'inline' : 'attachment'}; filename*=UTF-8''${encoded}`,
  }
}

/** One range (RFC 9110 §14.1.2); `undefined`: all of it, as for forms that we do not serve. */
function rangeOf(
  header: string | undefined, size: number,
): { readonly start: number, readonly end: number } | 'none' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '')
  if (match === null || match[1] === match[2] && match[1] === '') return undefined
  const [first, last] = [match[1]!, match[2]!]
  if (first === '') {
    const start = Math.max(0, size - Number(last))
    return start >= size ? 'none' : { start, end: size - 1 }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (start >= size) return 'none'
  return end < start ? undefined : { start, end }
}

/** Without reading what the client still sends. */
function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  end(response, status, { ...headers, connection: 'close' })
}

function end(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...everyAnswer, ...headers })
  response.end()
}
