/** Temporary. */
import { BenchProcess } from './bench-process.ts'
import type { BenchPorts, DoorCommand, Rate, Side } from './connectors-peer.ts'
const script = new URL('./connectors-peer.ts', import.meta.url)
const [side, op, bytes, seconds] = process.argv.slice(2)
const node = await BenchProcess.start<DoorCommand>(script, 'node')
const device = await BenchProcess.start<DoorCommand>(script, 'device')
await device.ask({ op: 'dial', ports: await node.ask<BenchPorts>({ op: 'listen' }) })
for (let i = 0; i < Number(seconds); i++) {
  const [n, d] = [await node.cpu(), await device.cpu()]
  const rate = await device.ask<Rate>({ op: op as 'in', side: side as Side, bytes: Number(bytes), ms: 1000 })
  console.log(Math.round(rate.perSecond), 'cpu node', ((await node.cpu() - n) / rate.messages).toFixed(2), 'device', ((await device.cpu() - d) / rate.messages).toFixed(2))
}
await device.ask({ op: 'quit' } as never).catch(() => {})
await node.ask({ op: 'quit' } as never).catch(() => {})
process.exit()
