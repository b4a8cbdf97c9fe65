import { transferRows, idlePeerRow } from './overlay-transfer.ts'
if (process.argv[2] === 't') console.table(await transferRows())
else console.log(await idlePeerRow(Number(process.argv[3])))
process.exit()
