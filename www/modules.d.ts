// The build copies uPlot from node_modules to vendor/; its own types describe the copy too.
declare module "*/vendor/uPlot.esm.js" {
  import uPlot from "uplot";
  export default uPlot;
}
