/** One transfer between two hosts: a door on the one, a device on the other, numbered messages. */
import { TwoHosts } from './two-hosts.ts'

const script = new URL('link-child.ts', import.meta.url).pathname

export interface TransferOptions {
  readonly transport: 'tcp' | 'udp'
  readonly messages: number
  readonly bytes: number
  readonly direction: 'up' | 'down' | 'both'
  /** While it runs. */
  readonly meanwhile?: (hosts: TwoHosts) => void
}

export interface Transfer {
  readonly ms: number
  readonly ended: string
  readonly inOrder: boolean
  readonly megabitsPerSecond: number
  readonly metrics: Readonly<Record<string, number>>
}

export async function transfer(hosts: TwoHosts, options: TransferOptions): Promise<Transfer> {
  const { transport, messages, bytes, direction, meanwhile } = options
  const node = hosts.node('node', script, 'node', transport, hosts.nodeAddress)
  const fromNode = TwoHosts.reader(node)
  const { port } = await fromNode()
  const order = [port, messages, bytes].map(String)
  const device = hosts.node('device', script, 'device', transport, hosts.nodeAddress, ...order, direction)
  const ticks = setInterval(() => meanwhile?.(hosts), 1_000)
  try {
    const { ms, ended, received, inOrder, peerInOrder } = await TwoHosts.reader(device)()
    node.stdin!.end()
    const { metrics } = await fromNode()
    const whole = direction === 'up' || received === messages
    const ways = direction === 'both' ? 2 : 1
    return {
      ms: ms as number,
      ended: ended as string,
      inOrder: whole && inOrder === true && peerInOrder === true,
      megabitsPerSecond: (messages * bytes * ways * 8) / (ms as number) / 1_000,
      metrics: metrics as Record<string, number>,
    }
  } finally {
    clearInterval(ticks)
    await ended(device)
    await ended(node)
  }
}

function ended(child: ReturnType<TwoHosts['node']>): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('close', () => resolve())
    child.kill()
  })
}
