"use strict";(()=>{window.reflexarcForms={show:()=>!1,scan(){}};})();
