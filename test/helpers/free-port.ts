/** A port for programs that must be found where they were, or that cannot say which one they took. */
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

/** Free a moment ago; nobody else on this machine picks it by number. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => { server.close(resolve) })
  return port
}
