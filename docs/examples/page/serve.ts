/**
 * Gives the page out without a bundler: the SDK's TypeScript sources with their types blanked out,
 * and an import map that says where the packages are. For trying out; a site that many people use
 * wants one file.
 *
 * ```text
 *   /docs/examples/page/   this folder                        /crypto/ /protocol/   the SDK
 *   /node_modules/…        the packages that the SDK needs    everything else       404
 * ```
 *
 * The page may run this site's scripts alone, no inline ones (the import map goes by its hash), no
 * `eval`; it may connect to any WebSocket, since the node is wherever the person says. Without
 * `wasm` the SDK computes in JavaScript.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, resolve } from 'node:path'
import { stripTypeScriptTypes } from 'node:module'

export interface PageOptions {
  readonly host?: string
  /** 0, the default: any free one. */
  readonly port?: number
  /** Lets libsodium's WebAssembly run, which is faster; default true. */
  readonly wasm?: boolean
  /** More that may be fetched, and where more modules are; for tests. */
  readonly folders?: readonly string[]
  readonly imports?: Readonly<Record<string, string>>
}

export interface PageServer {
  /** `http://127.0.0.1:PORT/docs/examples/page/` */
  readonly url: string
  close(): Promise<void>
}

const root = resolve(import.meta.dirname, '../../..')
const start = '/docs/examples/page/'
const folders = [
  start, '/crypto/', '/protocol/', '/node_modules/@noble/', '/node_modules/@scure/',
  '/node_modules/libsodium/', '/node_modules/libsodium-wrappers/',
]
const sodium = (name: string): string => `/node_modules/${name}/dist/modules-esm/${name}.mjs`
const imports = {
  'openim/client': '/protocol/client/index.ts',
  '#crypto-provider': '/crypto/provider-browser.ts',
  '@noble/': '/node_modules/@noble/',
  '@scure/base': '/node_modules/@scure/base/index.js',
  '@scure/bip39': '/node_modules/@scure/bip39/index.js',
  '@scure/': '/node_modules/@scure/',
  'libsodium': sodium('libsodium'),
  'libsodium-wrappers': sodium('libsodium-wrappers'),
}
const mediaTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.mjs': 'text/javascript',
  '.ts': 'text/javascript',
}

/** Serves the page until it is closed. */
export async function servePage(options: PageOptions = {}): Promise<PageServer> {
  const { host = '127.0.0.1', port = 0 } = options
  const map = JSON.stringify({ imports: { ...imports, ...options.imports } })
  const allowed = [...folders, ...options.folders ?? []]
  const headers = {
    'content-security-policy': policy(map, options.wasm ?? true),
    'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-store',
  }
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://page')
    const found = allowed.some((folder) => pathname.startsWith(folder)) ? await load(pathname, map) : undefined
    const type = mediaTypes[extname(pathname)] ?? 'text/html'
    response.writeHead(found === undefined ? 404 : 200, { ...headers, 'content-type': `${type}; charset=utf-8` })
    response.end(found ?? 'not here')
  })
  await new Promise<void>((settle) => { server.listen(port, host, settle) })
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}${start}`,
    async close() {
      const closed = new Promise((settle) => { server.close(settle) })
      server.closeAllConnections()
      await closed
    },
  }
}

/** `URL` has resolved every `..`, so the path stays below its folder. */
async function load(path: string, map: string): Promise<string | undefined> {
  if (path.includes('%')) return undefined
  const file = join(root, path, path.endsWith('/') ? 'index.html' : '')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (file.endsWith('.html')) return text?.replace('<!-- import map -->', `<script type="importmap">${map}</script>`)
  return text !== undefined && file.endsWith('.ts') ? stripTypeScriptTypes(text) : text
}

function policy(map: string, wasm: boolean): string {
  const hash = createHash('sha256').update(map).digest('base64')
  return [
    "default-src 'none'", `script-src 'self' 'sha256-${hash}'${wasm ? " 'wasm-unsafe-eval'" : ''}`,
    "style-src 'self'", 'connect-src ws: wss:', "img-src 'self'", "base-uri 'none'", "form-action 'none'",
    "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
  ].join('; ')
}

if (import.meta.main) {
  const { url } = await servePage({ port: 8080 })
  process.stdout.write(`${url}\n`)
}
